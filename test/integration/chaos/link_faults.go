package chaos

import (
	"time"

	"realtime-gateway/test/integration/harness"
)

// linkFaults are what happens between one replica and Redis.
func linkFaults(links []*harness.Proxy) []fault {
	on := func(begin func(*harness.Proxy) error) func(int) (func() error, error) {
		return func(target int) (func() error, error) {
			p := links[target%len(links)]
			return p.Restore, begin(p)
		}
	}
	return []fault{
		{name: "link cut", lane: linkLane, longest: 2 * time.Second, begin: on(func(p *harness.Proxy) error {
			p.Cut()
			return nil
		})},
		// Long enough to be noticed at times, and short enough to come back
		// unnoticed at others.
		{name: "link deaf", lane: linkLane, longest: 9 * time.Second, rare: true, begin: on((*harness.Proxy).Deafen)},
		{name: "link black hole", lane: linkLane, longest: 4 * time.Second, rare: true, begin: on((*harness.Proxy).BlackHole)},
		// In the midst of an answer, and of an announcement.
		{name: "link reset", lane: linkLane, longest: 1500 * time.Millisecond, begin: on(func(p *harness.Proxy) error { return p.ResetAfter(20_000) })},
		{name: "link slow", lane: linkLane, longest: 2 * time.Second, begin: on(func(p *harness.Proxy) error { return p.Delay(150 * time.Millisecond) })},
	}
}
