package integration_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// Three replicas behind the documented HAProxy are replaced one after the other, as
// a rolling update does it, under load: each client gets every event once and in
// order, and hears of no gap. How spread out they come back is printed beside what
// it would be without a drain.
func TestRollingUpdate(t *testing.T) {
	t.Parallel()
	const clients, replicas, drain = 300, 3, 5 * time.Second
	flags := []string{"--drain-time", drain.String()}
	f := own(t, setup{replicas: replicas, flags: flags})
	for range replicas {
		_, err := f.add(f.redis.URL(), flags, nil)
		must(t, err)
	}
	b := proxied(t, "haproxy", f, "")
	// It takes every server for one that is up until its checks have failed.
	must(t, harness.Until("the proxy has noticed who is not there yet", harness.Deadline, func() error {
		if n := strings.Count(b.Log.String(), " is DOWN"); n < replicas {
			return fmt.Errorf("%d of %d", n, replicas)
		}
		return nil
	}))
	var chs []string
	for range 6 {
		chs = append(chs, channel("many"))
	}
	reads := func(i int) []string { return []string{chs[i%len(chs)], chs[(i+1)%len(chs)]} }
	var browsers []*harness.Follower
	for i := range clients {
		browsers = append(browsers, harness.Browse(on(reads(i)...), b.URL()))
	}
	t.Cleanup(func() {
		for _, c := range browsers {
			c.Close()
		}
	})
	for _, c := range browsers {
		wait(t, c, "the stream begins", func(v harness.View) bool { return len(v.Named("gateway.open")) > 0 })
	}
	begin := time.Now()
	p := harness.StartPublisher(f.db(), harness.ByFunction, 100*time.Millisecond, chs...)
	atOnce := 0
	for i, old := range f.replicas[:replicas] {
		next := f.replicas[replicas+i]
		must(t, next.Start())
		must(t, next.WaitReady())
		must(t, p.More(5))
		had, err := connections(old)
		must(t, err)
		atOnce = max(atOnce, had)
		must(t, old.Process().Signal(syscall.SIGTERM))
		wantExit(t, old, 0)
	}
	must(t, p.More(5))
	last, err := p.Stop()
	must(t, err)
	var back []time.Time
	for i, c := range browsers {
		for _, ch := range reads(i) {
			v := waitNumber(t, c, ch, last)
			wantNumbers(t, v.Of(ch), 1, last)
			if v.EndErr != nil {
				t.Errorf("a browser would have given up: %v", v.EndErr)
			}
		}
		if c.Connections() < 2 {
			t.Error("a client lived through the replacement of all replicas on one connection")
		}
		for _, at := range c.Arrivals() {
			if at.After(begin) {
				back = append(back, at)
			}
		}
	}
	harness.Figure(t, "%d events to each of %d clients, none lost, doubled or reordered; peak %d reconnects/s of %d clients over %d drains of %v (%d in all); a replica that drops its streams at once has %d in one moment",
		2*last, clients, peak(back, time.Second), clients, replicas, drain, len(back), atOnce)
}

// peak is the most of times within any window.
func peak(times []time.Time, window time.Duration) (most int) {
	slices.SortFunc(times, time.Time.Compare)
	first := 0
	for i, at := range times {
		for at.Sub(times[first]) >= window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// connections is how many streams a replica has.
func connections(g *harness.Gateway) (n int, err error) {
	_, body, err := g.Ops("/v1/connections?limit=0")
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(body, `{"connections":[],"total":%d}`, &n); err != nil {
		return 0, fmt.Errorf("%w: %s", err, body)
	}
	return n, nil
}
