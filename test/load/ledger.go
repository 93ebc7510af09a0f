package load

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Ledger is what the publisher and the client of one measurement know of each
// other. Safe for concurrent use.
type Ledger struct {
	run   uint64
	begin time.Time
	// sent is per channel how many events went to Redis; one publisher adds.
	sent []atomic.Uint64
	// settled counts deliveries of which nothing is to be expected any more:
	// they came, or a later one did.
	settled atomic.Uint64
	// moved wakes who waits for settled to grow.
	moved chan struct{}
}

// NewLedger returns the ledger of a new measurement of so many channels.
func NewLedger(channels int) *Ledger {
	return &Ledger{run: rand.Uint64(), begin: time.Now(), sent: make([]atomic.Uint64, channels), moved: make(chan struct{}, 1)}
}

// now is the time on the ledger's clock, in nanoseconds.
func (l *Ledger) now() int64 { return int64(time.Since(l.begin)) }

// next is the marker of the channel's next event, which is published now.
func (l *Ledger) next(channel int) Marker {
	return Marker{Run: l.run, Channel: channel, Seq: l.sent[channel].Add(1), Sent: l.now()}
}

// settle adds deliveries, and wakes who waits for them.
func (l *Ledger) settle(n uint64) {
	if n == 0 {
		return
	}
	l.settled.Add(n)
	select {
	case l.moved <- struct{}{}:
	default:
	}
}

// published is how many events went out on all channels.
func (l *Ledger) published() uint64 {
	var n uint64
	for i := range l.sent {
		n += l.sent[i].Load()
	}
	return n
}
