package sse

import "testing"

// Streams that have more to write than one turn takes must not hold up the
// others: a round gives a share of them their turn, in rotation.
func TestLoopRoundServesAShareOfThoseWithMore(t *testing.T) {
	f := newFixture(t)
	l, err := newLoop(f.handler)
	if err != nil {
		t.Fatal(err)
	}
	defer l.poll.close()
	const streams = 10 * slice
	for range streams {
		l.again = append(l.again, &conn{loop: l, state: closed, again: true})
	}
	for rounds := 0; len(l.again) > 0; rounds++ {
		before := len(l.again)
		if l.round(); before-len(l.again) > slice || len(l.again) >= before {
			t.Fatalf("round %d served %d of %d", rounds, before-len(l.again), before)
		}
	}
}

// Of what a client sends after its request nothing is kept, and not everything
// is taken.
func TestLoopEndsWhoSendsTooMuch(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Loops = 1 })
	c := f.dial("", "a")
	c.want(EventOpen)
	junk := make([]byte, 4<<10)
	for range maxHeard/len(junk) + 1 {
		if _, err := c.Write(junk); err != nil {
			break
		}
	}
	if reason := <-f.closed; reason != endedByClient {
		t.Errorf("ended by %q", reason)
	}
}

// When the loops end, what they had is cut, and nothing more is taken.
func TestLoopsEnd(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Loops = 2 })
	var streams []*caller
	for range 5 {
		streams = append(streams, f.dial("", "a", "b"))
	}
	for _, c := range streams {
		c.want(EventOpen)
	}
	f.stop()
	for _, c := range streams {
		c.wantEnd()
	}
	if n := f.handler.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	for _, l := range f.handler.engine.loops {
		if len(l.feeds) != 0 || l.open.Load() != 0 || len(l.free) != len(l.slots) {
			t.Errorf("a loop keeps %d feeds, %d connections, %d of %d slots", len(l.feeds), l.open.Load(), len(l.slots)-len(l.free), len(l.slots))
		}
	}
}
