package integration_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// hears waits for n more heartbeats on each stream.
func hears(t *testing.T, n int, streams ...*harness.Stream) {
	t.Helper()
	for _, s := range streams {
		before := s.Now().Comments
		wait(t, s, fmt.Sprintf("%d more heartbeats", n), func(v harness.View) bool { return v.Comments >= before+n })
	}
}

// stillOpen checks that the streams never ended.
func stillOpen(t *testing.T, streams ...*harness.Stream) {
	t.Helper()
	for i, s := range streams {
		if v := s.Now(); v.Ended {
			t.Fatalf("stream %d ended: %s", i, v)
		}
	}
}

// Redis goes away and comes back: clients stay connected, hear heartbeats and
// miss nothing.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"in order", "by kill -9"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{flags: []string{"--heartbeat", "1s"}, redisArgs: harness.Durable})
			busy, quiet, plain := channel("hist"), channel("hist"), channel("hist")
			streams := []*harness.Stream{open(t, f.url(0), on(busy, quiet, plain)), open(t, f.url(1), on(busy, quiet, plain))}
			for round := range 2 {
				count(t, f, busy, round*50+1, round*50+25)
				// These may still be on their way when Redis goes.
				count(t, f, busy, round*50+26, round*50+50)
				if way == "in order" {
					must(t, f.redis.Stop())
				} else {
					must(t, f.redis.Kill())
				}
				hears(t, 2, streams...)
				must(t, f.redis.Start())
			}
			count(t, f, busy, 101, 120)
			count(t, f, quiet, 1, 3)
			for _, s := range streams {
				waitNumber(t, s, busy, 120)
				waitNumber(t, s, quiet, 3)
				wantNumbers(t, s.Now().Of(busy), 1, 120)
				wantNumbers(t, s.Now().Of(quiet), 1, 3)
			}
			for _, g := range f.replicas {
				must(t, g.WaitReady())
			}
			publish(t, f, plain, harness.Counted(1))
			publish(t, f, plain, harness.Counted(2))
			waitRecorded(t, f, plain, 2)
			for _, s := range streams {
				waitNumber(t, s, plain, 2)
			}
			stillOpen(t, streams...)
		})
	}
}

// A hung Redis (its host stands still, its sockets are open) is the same to
// clients, and events published when it goes on arrive.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	f := own(t, setup{flags: []string{"--heartbeat", "1s"}})
	ch := channel("hist")
	streams := []*harness.Stream{open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))}
	count(t, f, ch, 1, 5)
	must(t, f.redis.Freeze())
	for _, g := range f.replicas {
		cannotDeliver(t, g, harness.NotReady)
	}
	hears(t, 2, streams...)
	must(t, f.redis.Thaw())
	count(t, f, ch, 6, 10)
	for _, s := range streams {
		waitNumber(t, s, ch, 10)
		wantNumbers(t, s.Now().Of(ch), 1, 10)
	}
	for _, g := range f.replicas {
		must(t, g.WaitReady())
	}
	stillOpen(t, streams...)
}

// cannotDeliver waits until the replica says so, as one that is degraded or not
// ready.
func cannotDeliver(t *testing.T, g *harness.Gateway, status string) {
	t.Helper()
	must(t, g.WaitStatus(status))
	// Alive it is all the while: a restart would help nobody.
	if code, body, err := g.Ops("/healthz"); err != nil || code != http.StatusOK {
		t.Errorf("/healthz is %d %s (%v), want 200", code, body, err)
	}
}

// Subscriptions that are lost while publishing goes on lose nothing.
func TestSubscriptionsAreKilled(t *testing.T) {
	t.Parallel()
	f := own(t, setup{})
	chs := []string{channel("many"), channel("many"), channel("many")}
	streams := []*harness.Stream{open(t, f.url(0), on(chs...)), open(t, f.url(1), on(chs...))}
	p := harness.StartPublisher(f.db(), harness.ByFunction, 3*time.Millisecond, chs...)
	for round := 1; round <= 6; round++ {
		waitNumber(t, streams[round%2], chs[0], round*40)
		must(t, f.redis.KillPubSub(t.Context()))
	}
	last, err := p.Stop()
	must(t, err)
	for _, s := range streams {
		for _, ch := range chs {
			waitNumber(t, s, ch, last)
			wantNumbers(t, s.Now().Of(ch), 1, last)
		}
	}
	stillOpen(t, streams...)
}

// Connections to Redis that stand but carry nothing are noticed by what does
// not arrive.
func TestRedisIsDeaf(t *testing.T) {
	t.Parallel()
	f := own(t, setup{proxied: true})
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	count(t, f, ch, 1, 3)
	waitNumber(t, s, ch, 3)
	must(t, f.proxies[0].Deafen())
	count(t, f, ch, 4, 6)
	waitNumber(t, s, ch, 6)
	f.proxies[0].Cut()
	count(t, f, ch, 7, 9)
	cannotDeliver(t, f.replicas[0], harness.Degraded)
	must(t, f.proxies[0].Restore())
	must(t, f.replicas[0].WaitReady())
	count(t, f, ch, 10, 12)
	waitNumber(t, s, ch, 12)
	wantNumbers(t, s.Now().Of(ch), 1, 12)
	stillOpen(t, s)
}

// A plain message that one replica could not hear is recorded by the other.
func TestRecorderIsCutOff(t *testing.T) {
	t.Parallel()
	for which := range 2 {
		t.Run(fmt.Sprintf("replica %d", which), func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{proxied: true})
			ch := channel("hist")
			s := open(t, f.url(1-which), on(ch))
			f.proxies[which].Cut()
			for n := 1; n <= 10; n++ {
				publish(t, f, ch, harness.Counted(n))
			}
			waitCount(t, s, ch, 10)
			must(t, f.proxies[which].Restore())
			must(t, f.replicas[which].WaitReady())
			waitRecorded(t, f, ch, 10)
		})
	}
}

// What a replica has put into Redis comes back by itself.
func TestFlush(t *testing.T) {
	t.Parallel()
	for _, what := range [][]any{{"FUNCTION", "FLUSH"}, {"SCRIPT", "FLUSH"}} {
		t.Run(fmt.Sprint(what...), func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{})
			ch := channel("hist")
			streams := []*harness.Stream{open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))}
			count(t, f, ch, 1, 3)
			must(t, f.db().Do(t.Context(), what...).Err())
			publish(t, f, ch, harness.Counted(4))
			for _, s := range streams {
				waitNumber(t, s, ch, 4)
			}
			must(t, harness.Until("the function is back", harness.Deadline, func() error {
				_, err := tryFcall(f, ch, harness.Counted(5))
				return err
			}))
			// A channel that nobody asked for before needs it, too.
			later := channel("hist")
			streams = append(streams, open(t, f.url(0), on(later, ch)))
			count(t, f, later, 1, 1)
			waitNumber(t, streams[2], later, 1)
			for _, s := range streams[:2] {
				waitNumber(t, s, ch, 5)
				wantNumbers(t, s.Now().Of(ch), 1, 5)
			}
			stillOpen(t, streams...)
		})
	}
}

// When Redis itself loses everything, who missed something is told.
func TestFlushAll(t *testing.T) {
	t.Parallel()
	f := own(t, setup{})
	ch := channel("hist")
	live := []*harness.Stream{open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))}
	gone := open(t, f.url(0), on(ch))
	count(t, f, ch, 1, 3)
	waitNumber(t, gone, ch, 3)
	gone.Close()
	count(t, f, ch, 4, 5)
	last := fcall(t, f, ch, harness.Counted(6))
	for _, s := range live {
		waitNumber(t, s, ch, 6)
	}
	// Within the same millisecond Redis would give the same ids again.
	outlive(t, f, last, time.Millisecond)
	must(t, f.db().FlushAll(t.Context()).Err())
	count(t, f, ch, 7, 8)
	for _, s := range live {
		waitNumber(t, s, ch, 8)
		// They missed nothing, though a replica cannot know it.
		if gaps := s.Now().Gaps(ch); len(gaps) > 1 {
			t.Errorf("%d gaps, want at most one: %s", len(gaps), s.Now())
		}
		if len(s.Now().Published(ch)) != 8 {
			t.Errorf("want events 1 to 8, heard %s", s.Now())
		}
	}
	stillOpen(t, live...)
	for i := range f.replicas {
		back := open(t, f.url(i), from(gone.Now().Cursor, ch))
		waitNumber(t, back, ch, 8)
		heard := back.Now().Of(ch)
		if heard[0].Name != "gateway.gap" || len(back.Now().Gaps(ch)) != 1 {
			t.Errorf("replica %d: want one gap before what is left, heard %s", i, back.Now())
		}
		rest := back.Now().Published(ch)
		wantNumbers(t, rest, rest[0].N, 8)
	}
}

// A client that comes while Redis is away is told to come again.
func TestConnectWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	f := own(t, setup{redisArgs: harness.Durable})
	known := channel("hist")
	s := open(t, f.url(0), on(known))
	must(t, f.redis.Kill())
	for _, g := range f.replicas {
		cannotDeliver(t, g, harness.Degraded)
	}
	for i := range f.replicas {
		refused := connect(t, f.url(i), on(channel("hist")))
		if ct := refused.Header.Get("Content-Type"); refused.Status != http.StatusOK || ct != "text/event-stream; charset=utf-8" {
			t.Fatalf("status %d, Content-Type %q, want a stream: %s", refused.Status, ct, refused.Problem)
		}
		v := waitEnd(t, refused, harness.Deadline)
		wantClose(t, v, true)
		if v.EndErr != nil {
			t.Errorf("the stream broke: %v", v.EndErr)
		}
	}
	stillOpen(t, s)
	must(t, f.redis.Start())
	for _, g := range f.replicas {
		must(t, g.WaitReady())
	}
	again := open(t, f.url(1), on(known))
	count(t, f, known, 1, 2)
	waitNumber(t, s, known, 2)
	waitNumber(t, again, known, 2)
	wantNumbers(t, s.Now().Of(known), 1, 2)
}

// wantClose checks the one gateway.close of an ended stream and returns it.
func wantClose(t *testing.T, v harness.View, reconnect bool) harness.Event {
	t.Helper()
	closes := v.Named("gateway.close")
	if len(closes) != 1 || v.Events[len(v.Events)-1].Name != "gateway.close" {
		t.Fatalf("want one gateway.close, as the last event: %s", v)
	}
	c := closes[0]
	if c.Reason == "" || c.Reconnect == nil || *c.Reconnect != reconnect {
		t.Errorf("want a reason and reconnect %t: %s", reconnect, c.Data)
	}
	if reconnect && (c.Retry == nil || *c.Retry <= 0 || len(v.Retries) == 0 || v.Retries[len(v.Retries)-1] != fmt.Sprint(*c.Retry)) {
		t.Errorf("want a retry in ms, and the same in the retry field (%v): %s", v.Retries, c.Data)
	}
	return c
}

// A replica that starts before Redis becomes ready when Redis is there.
func TestRedisStartsLater(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, redisArgs: harness.Durable})
	g := f.replicas[0]
	must(t, g.Kill())
	must(t, f.redis.Stop())
	must(t, g.Start())
	must(t, harness.Until("the replica is alive", harness.Deadline, func() error {
		status, _, err := g.Ops("/healthz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/healthz is %d", status)
		}
		return err
	}))
	cannotDeliver(t, g, harness.NotReady)
	must(t, f.redis.Start())
	must(t, g.WaitReady())
	ch := channel("hist")
	s := open(t, g.URL(), on(ch))
	count(t, f, ch, 1, 2)
	waitNumber(t, s, ch, 2)
}
