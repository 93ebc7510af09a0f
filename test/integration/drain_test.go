package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// A replica that leaves closes its streams spread over the drain time, each
// with its own retry, and nobody loses an event by it.
func TestDrain(t *testing.T) {
	t.Parallel()
	f := own(t, setup{flags: []string{"--drain-time", "2s"}})
	ch := channel("many")
	var streams []*harness.Stream
	for range 30 {
		streams = append(streams, open(t, f.url(0), on(ch)))
	}
	followers := []*harness.Follower{follow(t, on(ch), f.url(0), f.url(1)), follow(t, on(ch), f.url(0), f.url(1))}
	stays := open(t, f.url(1), on(ch))
	p := harness.StartPublisher(f.db(), harness.ByFunction, 5*time.Millisecond, ch)
	for _, s := range streams {
		waitNumber(t, s, ch, 10)
	}
	start := time.Now()
	code, err := f.replicas[0].Process().Terminate()
	must(t, err)
	took := time.Since(start)
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if took > 17*time.Second {
		t.Errorf("leaving took %v with a drain time of 2 s, promised are 15 s more at most", took)
	}
	retries := map[int]bool{}
	var first, last time.Time
	for _, s := range streams {
		v := waitEnd(t, s, harness.Deadline)
		if v.EndErr != nil {
			t.Errorf("a stream broke: %v", v.EndErr)
		}
		c := wantClose(t, v, true)
		if c.Retry != nil {
			retries[*c.Retry] = true
		}
		if first.IsZero() || c.At.Before(first) {
			first = c.At
		}
		if c.At.After(last) {
			last = c.At
		}
		// In order up to its end, and goes on from there elsewhere.
		heard := v.Published(ch)
		wantNumbers(t, v.Of(ch), 1, len(heard))
		again := open(t, f.url(1), from(v.Cursor, ch))
		waitNumber(t, again, ch, len(heard)+5)
		wantNumbers(t, again.Now().Of(ch)[:5], len(heard)+1, len(heard)+5)
		again.Close()
	}
	if len(retries) < 10 {
		t.Errorf("%d streams got only %d different retry values", len(streams), len(retries))
	}
	if spread := last.Sub(first); spread < 500*time.Millisecond {
		t.Errorf("all streams ended within %v of a drain time of 2 s", spread)
	}
	n, err := p.Stop()
	must(t, err)
	for _, l := range []listener{followers[0], followers[1], stays} {
		waitNumber(t, l, ch, n)
		wantNumbers(t, l.Now().Of(ch), 1, n)
	}
	stillOpen(t, stays)
}

// A replica that leaves is not ready, but still alive, and sends newcomers on.
func TestDrainRefusesNewcomers(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, flags: []string{"--drain-time", "5s"}})
	g := f.replicas[0]
	ch := channel("hist")
	for range 20 {
		open(t, g.URL(), on(ch))
	}
	done := make(chan error, 1)
	go func() {
		_, err := g.Process().Terminate()
		done <- err
	}()
	notReadyOrGone(t, g)
	if s, err := harness.Open(g.URL(), on(ch)); err == nil {
		defer s.Close()
		if s.Status != 200 {
			t.Errorf("status %d while draining, want 200: %s", s.Status, s.Problem)
		} else if v := waitEnd(t, s, harness.Deadline); len(v.Named("gateway.close")) != 1 {
			t.Errorf("want gateway.close: %s", v)
		}
	}
	must(t, <-done)
}

// Clients that do not read cannot keep a replica from leaving in order.
func TestDrainWithClientsThatDoNotRead(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, flags: []string{"--drain-time", "1s", "--write-timeout", "1m"}})
	ch := channel("many")
	stuck := harness.Subscribe{Channels: []string{ch}, ReceiveBuffer: 4096}
	for range 3 {
		open(t, f.url(0), stuck).Pause()
	}
	big := strings.Repeat("x", 100_000)
	for range 40 {
		fcall(t, f, ch, big)
	}
	code, err := f.replicas[0].Process().Terminate()
	must(t, err)
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// notReadyOrGone waits until /readyz does not say 200 any more.
func notReadyOrGone(t *testing.T, g *harness.Gateway) {
	t.Helper()
	must(t, harness.Until("not ready", harness.Deadline, func() error {
		if status, _, err := g.Ops("/readyz"); err == nil && status == 200 {
			return fmt.Errorf("/readyz is still 200")
		}
		return nil
	}))
}
