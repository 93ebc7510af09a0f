package integration_test

import (
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// Behind a load balancer, and without sticky sessions, a client that comes
// back is served by whichever replica is left, and misses nothing.
func TestBehindALoadBalancer(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 3, balanced: true, flags: []string{"--drain-time", "1s"}})
	ch := channel("many")
	var clients []*harness.Follower
	for range 6 {
		clients = append(clients, follow(t, on(ch), f.balancer.URL()))
	}
	p := harness.StartPublisher(f.db(), harness.ByFunction, 5*time.Millisecond, ch)
	for i, g := range f.replicas[:2] {
		must(t, p.More(40))
		if i == 0 {
			must(t, g.Kill())
		} else if _, err := g.Process().Terminate(); err != nil {
			t.Fatal(err)
		}
		must(t, p.More(40))
		must(t, g.Start())
		must(t, g.WaitReady())
	}
	last, err := p.Stop()
	must(t, err)
	for _, c := range clients {
		waitNumber(t, c, ch, last)
		wantNumbers(t, c.Now().Of(ch), 1, last)
	}
}
