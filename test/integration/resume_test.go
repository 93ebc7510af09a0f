package integration_test

import (
	"net/url"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

func TestResumeOnOtherReplicas(t *testing.T) {
	t.Parallel()
	f := shared(t)
	chs := []string{channel("hist"), channel("hist"), channel("hist"), channel("hist")}
	client := follow(t, on(chs...), f.urls()...)
	p := harness.StartPublisher(f.db(), harness.ByFunction, 2*time.Millisecond, chs...)
	for hop := 1; hop <= 12; hop++ {
		waitNumber(t, client, chs[hop%len(chs)], hop*15)
		client.Hop()
	}
	last, err := p.Stop()
	must(t, err)
	for _, ch := range chs {
		fcall(t, f, ch, harness.Counted(last+1))
		waitNumber(t, client, ch, last+1)
		wantNumbers(t, client.Now().Of(ch), 1, last+1)
	}
	if n := client.Connections(); n < 6 {
		t.Errorf("only %d connections: the test tested nothing", n)
	}
}

// The cursor is the last event id whichever event carried it, gateway.open
// included, and may also come as query parameter.
func TestCursorOfAnyEvent(t *testing.T) {
	t.Parallel()
	f := shared(t)
	a, b := channel("hist"), channel("hist")
	s := open(t, f.url(0), on(a, b))
	for n := 1; n <= 5; n++ {
		// One after the other, as two channels have no order among them.
		count(t, f, a, n, n)
		waitNumber(t, s, a, n)
		count(t, f, b, n, n)
		waitNumber(t, s, b, n)
	}
	for i, e := range s.Now().Events {
		if e.ID == "" {
			t.Fatalf("event %d has no id: %s", i, e.Data)
		}
		// Event 0 is gateway.open, then a and b take turns.
		seenA, seenB := (i+1)/2, i/2
		for name, sub := range map[string]harness.Subscribe{
			"header": {Channels: []string{a, b}, From: e.ID},
			"query":  {Channels: []string{b, a}, Query: url.Values{"lastEventId": {e.ID}}},
			"body":   {Body: map[string]any{"channel": []string{a, b}, "lastEventId": e.ID}},
		} {
			again := open(t, f.url(i+1), sub)
			wait(t, again, "the rest by "+name, func(v harness.View) bool { return len(v.Published(a))+len(v.Published(b)) >= 10-i })
			wantNumbers(t, again.Now().Of(a), seenA+1, 5)
			wantNumbers(t, again.Now().Of(b), seenB+1, 5)
			again.Close()
		}
	}
}

// One channel removed and one added between two connections leave the others
// exact.
func TestChannelSetChanges(t *testing.T) {
	t.Parallel()
	f := shared(t)
	kept, removed, added := channel("hist"), channel("hist"), channel("hist")
	s := open(t, f.url(0), on(kept, removed))
	count(t, f, kept, 1, 3)
	count(t, f, removed, 1, 3)
	count(t, f, added, 1, 3)
	waitNumber(t, s, kept, 3)
	waitNumber(t, s, removed, 3)
	s.Close()
	count(t, f, kept, 4, 6)
	count(t, f, removed, 4, 6)
	count(t, f, added, 4, 6)

	s2 := open(t, f.url(1), harness.Subscribe{Channels: []string{added, kept}, From: s.Now().Cursor})
	waitNumber(t, s2, kept, 6)
	count(t, f, removed, 7, 7)
	count(t, f, added, 7, 7)
	count(t, f, kept, 7, 7)
	waitNumber(t, s2, kept, 7)
	waitNumber(t, s2, added, 7)
	wantNumbers(t, s2.Now().Of(kept), 4, 7)
	// The added channel begins like on a first connection: lastN is 0.
	wantNumbers(t, s2.Now().Of(added), 7, 7)
	if got := s2.Now().Of(removed); len(got) > 0 {
		t.Errorf("%d events of the removed channel", len(got))
	}
	s2.Close()
	count(t, f, kept, 8, 8)
	count(t, f, added, 8, 8)
	s3 := open(t, f.url(0), harness.Subscribe{Channels: []string{kept, added}, From: s2.Now().Cursor})
	waitNumber(t, s3, kept, 8)
	waitNumber(t, s3, added, 8)
	wantNumbers(t, s3.Now().Of(kept), 8, 8)
	wantNumbers(t, s3.Now().Of(added), 8, 8)
}

// Many clients that resume the same channel at once get the same.
func TestManyResumeAtOnce(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	first := open(t, f.url(0), on(ch))
	cursor := first.Now().Cursor
	count(t, f, ch, 1, 100)
	waitNumber(t, first, ch, 100)
	var streams []*harness.Stream
	for i := range 40 {
		streams = append(streams, connect(t, f.url(i), harness.Subscribe{Channels: []string{ch}, From: cursor}))
	}
	count(t, f, ch, 101, 120)
	for _, s := range streams {
		waitNumber(t, s, ch, 120)
		wantNumbers(t, s.Now().Of(ch), 1, 120)
	}
}

// Every replica goes away while publishing goes on; none keeps anything that
// a client needs.
func TestAllReplicasRestart(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"in order", "by kill -9"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{flags: []string{"--drain-time", "1s"}})
			chs := []string{channel("many"), channel("many"), channel("many")}
			clients := []*harness.Follower{follow(t, on(chs...), f.url(0), f.url(1)), follow(t, on(chs...), f.url(1), f.url(0))}
			p := harness.StartPublisher(f.db(), harness.ByFunction, 5*time.Millisecond, chs...)
			waitNumber(t, clients[0], chs[0], 30)
			for _, g := range f.replicas {
				if way == "in order" {
					code, err := g.Process().Terminate()
					must(t, err)
					if code != 0 {
						t.Errorf("exit code %d, want 0", code)
					}
				} else {
					must(t, g.Kill())
				}
			}
			// Nobody runs; something is published meanwhile.
			must(t, p.More(20))
			for _, g := range f.replicas {
				must(t, g.Start())
			}
			for _, g := range f.replicas {
				must(t, g.WaitReady())
			}
			last, err := p.Stop()
			must(t, err)
			for _, ch := range chs {
				fcall(t, f, ch, harness.Counted(last+1))
				for _, client := range clients {
					waitNumber(t, client, ch, last+1)
					wantNumbers(t, client.Now().Of(ch), 1, last+1)
				}
			}
		})
	}
}
