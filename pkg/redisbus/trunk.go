package redisbus

import (
	"context"
	"sync"
	"time"

	"realtime-gateway/pkg/channels"
)

// trunk is the links to one server that share its channels: several where one
// connection, and the goroutine that reads it, would be the bottleneck. All that
// is heard of a channel comes by one of them, in order.
type trunk []*link

func newTrunk(n int, options func() linkOptions, to listener) trunk {
	t := make(trunk, max(n, 1))
	for i := range t {
		t[i] = newLink(options(), to) // each has a probe of its own
	}
	return t
}

// of returns the link of a channel.
func (t trunk) of(channel string) *link {
	return t[channels.HashName(channel)%uint64(len(t))]
}

func (t trunk) run(ctx context.Context) {
	var links sync.WaitGroup
	for _, l := range t {
		links.Go(func() { l.run(ctx) })
	}
	links.Wait()
}

// up tells whether events of some channels at least are heard.
func (t trunk) up() bool { return t.count() > 0 }

// count returns how many links are up.
func (t trunk) count() (up int) {
	for _, l := range t {
		if l.up.Load() {
			up++
		}
	}
	return up
}

// trouble is what is wrong with one of them.
func (t trunk) trouble(now time.Time) error {
	for _, l := range t {
		if err := l.trouble(now); err != nil {
			return err
		}
	}
	return nil
}

func (t trunk) leave(addr string) {
	for _, l := range t {
		l.leave(addr)
	}
}

func (t trunk) leaveReplaced(addr string) {
	for _, l := range t {
		l.leaveReplaced(addr)
	}
}

func (t trunk) at() string { return t[0].at() }
