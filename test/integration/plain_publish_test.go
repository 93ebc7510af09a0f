package integration_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/test/integration/harness"
)

// waitRecorded waits until the channel's stream has n entries, and then sees
// to it that no other replica adds a double: recorders wait for each other for
// a moment, and nothing announces that they will not write.
func waitRecorded(t *testing.T, f *fixture, ch string, n int) {
	t.Helper()
	must(t, harness.Until(fmt.Sprintf("%d events of %s are recorded", n, ch), 2*harness.Deadline, func() error { return recorded(f, ch, n) }))
	must(t, harness.Holds(1500*time.Millisecond, func() error { return recorded(f, ch, n) }))
}

func recorded(f *fixture, ch string, n int) error {
	got, err := f.db().XLen(context.Background(), "gw:"+ch).Result()
	if err == nil && got != int64(n) {
		newest, _ := f.db().XRevRangeN(context.Background(), "gw:"+ch, "+", "-", 5).Result()
		err = fmt.Errorf("%s has %d events recorded, want %d; the newest: %v", ch, got, n, newest)
	}
	return err
}

// byData counts the events per payload text.
func byData(events []harness.Event) map[string]int {
	out := map[string]int{}
	for _, e := range events {
		var data struct{ Data string }
		unmarshal(e.Data, &data)
		out[data.Data]++
	}
	return out
}

// Nobody is connected: the replicas record plain messages once, however many
// replicas there are and however alike the messages.
func TestPublishWithNobodyConnected(t *testing.T) {
	t.Parallel()
	for replicas := 1; replicas <= 3; replicas++ {
		t.Run(fmt.Sprintf("%d replicas", replicas), func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{replicas: replicas})
			ch, never := channel("hist"), channel("hist")
			cursor := away(t, f, ch, 0)
			want := map[string]int{"same": 60, "other": 20}
			pipe := f.db().Pipeline()
			for i := range 60 {
				pipe.Publish(t.Context(), ch, "same")
				if i%3 == 0 {
					pipe.Publish(t.Context(), ch, "other")
				}
				if i%2 == 0 {
					text := fmt.Sprintf("unique %d", i)
					pipe.Publish(t.Context(), ch, text)
					want[text] = 1
				}
				pipe.Publish(t.Context(), never, "same")
			}
			_, err := pipe.Exec(t.Context())
			must(t, err)
			waitRecorded(t, f, ch, 110)
			waitRecorded(t, f, never, 60)
			// Some time later the same content is a new message again.
			publish(t, f, ch, "same")
			want["same"]++
			waitRecorded(t, f, ch, 111)
			for i := range f.replicas {
				s := open(t, f.url(i), from(cursor, ch))
				got := byData(waitCount(t, s, ch, 111))
				for text, n := range want {
					if got[text] != n {
						t.Errorf("replica %d: %q was published %d times and arrived %d times", i, text, n, got[text])
					}
				}
				if len(got) != len(want) {
					t.Errorf("replica %d: %d different payloads, want %d", i, len(got), len(want))
				}
				noGaps(t, s)
			}
		})
	}
}

// Connected clients hear identical messages as often as they were published,
// on every replica, and with the ids that a replay gives.
func TestPublishBurstLiveAndReplayed(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	a, b := open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))
	pipe := f.db().Pipeline()
	for range 100 {
		pipe.Publish(t.Context(), ch, "same")
	}
	_, err := pipe.Exec(t.Context())
	must(t, err)
	waitCount(t, a, ch, 100)
	waitCount(t, b, ch, 100)
	waitRecorded(t, f, ch, 100)
	replay := open(t, f.url(1), from(a.Now().Events[0].ID, ch))
	waitCount(t, replay, ch, 100)
	ids := func(s *harness.Stream) (out []string) {
		for _, e := range s.Now().Published(ch) {
			out = append(out, e.EventID)
		}
		return out
	}
	for name, got := range map[string][]string{"replica 1": ids(b), "the replay": ids(replay)} {
		if fmt.Sprint(got) != fmt.Sprint(ids(a)) {
			t.Errorf("replica 0 delivered %d events %v, %s %d events %v", len(ids(a)), ids(a), name, len(got), got)
		}
	}
}

// FCALL and PUBLISH of the same content, mixed, are separate messages.
func TestBothWaysMixed(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	for range 20 {
		fcall(t, f, ch, "same")
		publish(t, f, ch, "same")
	}
	waitCount(t, s, ch, 40)
	waitRecorded(t, f, ch, 40)
}

// Replicas die by kill -9 while plain publishing goes on. As long as one
// lives, each message is recorded exactly once.
func TestPublishWhileReplicasDie(t *testing.T) {
	t.Parallel()
	for replicas := 2; replicas <= 3; replicas++ {
		t.Run(fmt.Sprintf("%d replicas", replicas), func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{replicas: replicas})
			ch := channel("many")
			cursor := away(t, f, ch, 0)
			send := func(ctx context.Context, db redis.UniversalClient, ch, payload string) error {
				n, err := db.Publish(ctx, ch, payload).Result()
				if err == nil && n == 0 {
					err = fmt.Errorf("no replica listens")
				}
				return err
			}
			p := harness.StartPublisher(f.db(), send, 5*time.Millisecond, ch)
			for _, g := range f.replicas {
				must(t, p.More(60))
				must(t, g.Kill())
				must(t, p.More(60))
				must(t, g.Start())
				must(t, g.WaitReady())
			}
			must(t, p.More(60))
			last, err := p.Stop()
			must(t, err)
			must(t, harness.Until("the last message is recorded", 2*harness.Deadline, func() error {
				n, err := f.db().XLen(t.Context(), "gw:"+ch).Result()
				if err == nil && int(n) < last {
					err = fmt.Errorf("%d of %d are recorded", n, last)
				}
				return err
			}))
			// The marker is behind everything that was recorded late.
			must(t, harness.Holds(1500*time.Millisecond, func() error { return nil }))
			fcall(t, f, ch, harness.Counted(last+1))
			s := open(t, f.url(0), from(cursor, ch))
			waitNumber(t, s, ch, last+1)
			wantOnce(t, s, ch, last+1)
			noGaps(t, s)
		})
	}
}

// A payload that was recorded just before the only replica restarted is a new
// event when it comes again.
func TestPublishTheSameAfterARestart(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1})
	ch := channel("hist")
	for n := 1; n <= 4; n++ {
		publish(t, f, ch, "same")
		waitRecorded(t, f, ch, n)
		must(t, f.replicas[0].Kill())
		must(t, f.replicas[0].Start())
		must(t, f.replicas[0].WaitReady())
	}
}

// What is published under the name of a stream by mistake is counted, and
// nobody takes it for an event.
func TestPublishUnderTheStreamsName(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	publish(t, f, "gw:"+ch, "oops")
	fcall(t, f, ch, harness.Counted(1))
	waitNumber(t, s, ch, 1)
	wantNumbers(t, s.Now().Of(ch), 1, 1)
	noGaps(t, s)
	must(t, moved(f.replicas[0], `gateway_plain_rejected_total{reason="prefix"}`))
}

// Without history an event is passed on, and has an id of its own.
func TestNoHistoryIsPassedOn(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("live")
	a, b := open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))
	for range 30 {
		publish(t, f, ch, "same")
		fcall(t, f, ch, "same")
	}
	for _, s := range []*harness.Stream{a, b} {
		waitCount(t, s, ch, 60)
		publishEnd := fcall(t, f, ch, "end")
		wait(t, s, "the last event", func(v harness.View) bool {
			all := v.Published(ch)
			return all[len(all)-1].EventID == publishEnd
		})
	}
	for i, s := range []*harness.Stream{a, b} {
		ids := map[string]bool{}
		for _, e := range s.Now().Published(ch) {
			if e.EventID == "" || ids[e.EventID] {
				t.Errorf("replica %d: event_id %q is empty or was there before", i, e.EventID)
			}
			ids[e.EventID] = true
		}
		if n := byData(s.Now().Published(ch))["same"]; n != 60 {
			t.Errorf("replica %d delivered %d events, want 60", i, n)
		}
	}
	if n, err := f.db().Exists(t.Context(), "gw:"+ch).Result(); err != nil || n != 0 {
		t.Errorf("a channel without history has a stream: %d, %v", n, err)
	}
}
