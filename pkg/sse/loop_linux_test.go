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
