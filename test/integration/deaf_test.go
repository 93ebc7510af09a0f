package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// heardWithin is how soon a replica promises to notice that it hears nothing.
const heardWithin = 10 * time.Second

// A network swallows everything, and no socket closes. The replica notices it
// by what does not arrive, says so, and its clients miss nothing.
func TestNetworkSwallowsEverything(t *testing.T) {
	t.Parallel()
	f := own(t, setup{proxied: true, flags: []string{"--heartbeat", "1s"}})
	g := f.replicas[0]
	ch, plain := channel("hist"), channel("hist")
	streams := []*harness.Stream{open(t, f.url(0), on(ch, plain)), open(t, f.url(1), on(ch, plain))}
	count(t, f, ch, 1, 3)
	waitNumber(t, streams[0], ch, 3)
	must(t, f.proxies[0].BlackHole())
	count(t, f, ch, 4, 6)
	wantDeaf(t, g)
	wantMetric(t, g, "gateway_redis_up", "0")
	publish(t, f, plain, harness.Counted(1)) // heard by the other replica
	waitNumber(t, streams[1], plain, 1)
	hears(t, 2, streams[0])
	must(t, f.proxies[0].Restore())
	must(t, g.WaitReady())
	wantMetric(t, g, "gateway_redis_up", "1")
	count(t, f, ch, 7, 9)
	publish(t, f, plain, harness.Counted(2))
	waitRecorded(t, f, plain, 2)
	for _, s := range streams {
		waitNumber(t, s, ch, 9)
		wantNumbers(t, s.Now().Of(ch), 1, 9)
		waitNumber(t, s, plain, 2)
		wantNumbers(t, s.Now().Of(plain), 1, 2)
	}
	stillOpen(t, streams...)
}

// wantDeaf waits until the replica says that it does not hear a Redis that is there.
func wantDeaf(t *testing.T, g *harness.Gateway) {
	t.Helper()
	must(t, harness.Until("the replica notices that it is deaf", heardWithin, func() error {
		status, body, err := g.Readiness()
		if err == nil && status != harness.NotReady {
			err = fmt.Errorf("/readyz says %s", body)
		}
		return err
	}))
}

// wantMetric waits for a metric's value.
func wantMetric(t *testing.T, g *harness.Gateway, name, value string) {
	t.Helper()
	must(t, harness.Until("the metric changes", harness.Deadline, func() error {
		got, err := metric(g, name)
		if err == nil && got != value {
			err = fmt.Errorf("%s is %s, want %s", name, got, value)
		}
		return err
	}))
}

// moved returns an error while a metric is 0, or not there.
func moved(g *harness.Gateway, name string) error {
	got, err := metric(g, name)
	if err == nil && got == "0" {
		err = fmt.Errorf("%s is still 0", name)
	}
	return err
}

// metric is a metric's value, its name given with its labels.
func metric(g *harness.Gateway, name string) (string, error) {
	_, body, err := g.Ops("/metrics")
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return value, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("there is no metric %s", name)
	}
	return "", err
}

// A replica that has lost its connections, and whose first dials are refused,
// goes on until one is not.
func TestDialsAreRefused(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, proxied: true})
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	count(t, f, ch, 1, 3)
	must(t, f.proxies[0].RefuseNext(20))
	// Those of its commands as well.
	must(t, f.redis.KillPubSub(t.Context()))
	must(t, f.db().Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err())
	count(t, f, ch, 4, 6)
	must(t, harness.Until("20 dials are refused", 2*harness.Deadline, func() error {
		if n := f.proxies[0].Refused(); n < 20 {
			return fmt.Errorf("%d dials", n)
		}
		return nil
	}))
	count(t, f, ch, 7, 9)
	waitNumber(t, s, ch, 9)
	wantNumbers(t, s.Now().Of(ch), 1, 9)
	must(t, f.replicas[0].WaitReady())
	stillOpen(t, s)
}

// Connections are reset in the middle of replies, over and over.
func TestRepliesAreCutOff(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, proxied: true})
	chs := []string{channel("many"), channel("many")}
	s := open(t, f.url(0), on(chs...))
	p := harness.StartPublisher(f.db(), harness.ByFunction, 3*time.Millisecond, chs...)
	for _, bytes := range []int{1, 50, 333, 1000, 5000} {
		must(t, f.proxies[0].ResetAfter(bytes))
		must(t, p.More(50))
		must(t, f.proxies[0].Restore())
		must(t, p.More(50))
	}
	last, err := p.Stop()
	must(t, err)
	for _, ch := range chs {
		waitNumber(t, s, ch, last)
		wantNumbers(t, s.Now().Of(ch), 1, last)
	}
	must(t, f.replicas[0].WaitReady())
	stillOpen(t, s)
}

// Frames of channels with the shortest names come in pieces of one byte.
func TestRepliesComeInPieces(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, proxied: true})
	s := open(t, f.url(0), on("x", "y"))
	must(t, f.proxies[0].Slice())
	patterns, err := f.db().PubSubNumPat(t.Context()).Result()
	must(t, err)
	must(t, f.redis.KillPubSub(t.Context()))
	must(t, harness.Until("the replica listens again", harness.Deadline, func() error {
		now, err := f.db().PubSubNumSub(t.Context(), "y", "gw:x").Result()
		if err != nil {
			return err
		}
		again, err := f.db().PubSubNumPat(t.Context()).Result()
		if err == nil && (now["y"] != 1 || now["gw:x"] != 1 || again != patterns) {
			err = fmt.Errorf("%d patterns of %d, channels %v", again, patterns, now)
		}
		return err
	}))
	for n := 1; n <= 20; n++ {
		if n%2 == 0 {
			fcall(t, f, "x", harness.Counted(n))
			fcall(t, f, "y", harness.Counted(n))
		} else {
			publish(t, f, "x", harness.Counted(n))
			publish(t, f, "y", harness.Counted(n))
			waitNumber(t, s, "x", n) // it is recorded, before the next one is published
		}
	}
	for _, ch := range []string{"x", "y"} {
		waitNumber(t, s, ch, 20)
		wantNumbers(t, s.Now().Of(ch), 1, 20)
	}
	must(t, f.redis.KillPubSub(t.Context()))
	fcall(t, f, "x", harness.Counted(21))
	waitNumber(t, s, "x", 21)
	wantNumbers(t, s.Now().Of("x"), 1, 21)
	stillOpen(t, s)
}

// Redis cuts off a subscriber whose buffer is full: a burst is more than the
// buffer holds. What was lost with it is read from the streams.
func TestRedisCutsASlowSubscriber(t *testing.T) {
	t.Parallel()
	f := own(t, setup{redisArgs: harness.SmallPubSubBuffer})
	ch := channel("many")
	streams := []*harness.Stream{open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))}
	pipe := f.db().Pipeline()
	payload := strings.Repeat("x", 5000)
	for n := 1; n <= 500; n++ {
		pipe.FCall(t.Context(), "gateway_publish", []string{"gw:" + ch}, fmt.Sprintf(`{"type":"count","n":%d,"data":%q}`, n, payload))
	}
	_, err := pipe.Exec(t.Context())
	must(t, err)
	for _, s := range streams {
		waitNumber(t, s, ch, 500)
		wantNumbers(t, s.Now().Of(ch), 1, 500)
	}
	stillOpen(t, streams...)
}
