package retry

import (
	"math/rand/v2"
	"time"
)

// Defaults of a Policy.
const (
	DefaultInitial = 100 * time.Millisecond
	DefaultMax     = 30 * time.Second
)

// Policy is how long to wait between attempts. The zero Policy is ready to
// use. Values are immutable and safe for concurrent use.
type Policy struct {
	// Initial is the longest first wait. If zero or negative, DefaultInitial
	// is used.
	Initial time.Duration
	// Max is the longest wait of all. If zero or negative, DefaultMax is used.
	// Where it is below Initial, it holds for the first wait too.
	Max time.Duration
}

// Backoff computes the waits of one loop. Its zero value, and
// Backoff{Policy: p}, are ready to use:
//
//	b := retry.Backoff{Policy: p}
//	for ctx.Err() == nil {
//		healthy := serve(ctx) // a connection, for as long as it lasts
//		if healthy {
//			b.Reset()
//		}
//		wait(ctx, b.Next())
//	}
//
// Call Reset when a connection has proved itself, not when it was opened: a
// server that accepts and hangs up at once would otherwise be asked again and
// again after the shortest wait.
//
// A Backoff is not safe for concurrent use: each loop has its own.
type Backoff struct {
	// Policy says how long the waits are.
	Policy Policy

	cap  time.Duration       // of the last wait; 0: none since the start or Reset
	draw func(n int64) int64 // evenly from [0, n); nil: math/rand
}

// Next returns how long to wait before the next attempt: evenly from (0, cap],
// where cap is Policy.Initial at first, doubles with every call and ends at
// Policy.Max.
func (b *Backoff) Next() time.Duration {
	initial, limit := b.Policy.Initial, b.Policy.Max
	if initial <= 0 {
		initial = DefaultInitial
	}
	if limit <= 0 {
		limit = DefaultMax
	}
	switch {
	case b.cap <= 0:
		b.cap = min(initial, limit)
	case b.cap > limit/2: // doubling would pass the limit, or even overflow
		b.cap = limit
	default:
		b.cap *= 2
	}
	draw := b.draw
	if draw == nil {
		draw = rand.Int64N
	}
	return time.Duration(draw(int64(b.cap)) + 1)
}

// Reset makes the next wait a first one again.
func (b *Backoff) Reset() { b.cap = 0 }
