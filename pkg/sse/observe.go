package sse

import (
	"time"

	"realtime-gateway/pkg/channels"
)

// age is how old an event of this position is.
func (h *Handler) age(p channels.Position) time.Duration { return h.o.Hub.Now().Sub(p.Time()) }

// note notes an event that goes out with the next write.
func (f *fetcher) note(d *channels.Delivery) {
	if d.Gap != nil {
		return
	}
	f.latest = d
	if f.h.o.Hooks.Sent == nil {
		return
	}
	if f.upto == nil {
		f.upto, f.told = make([]channels.Position, f.sub.Len()), make([]channels.Position, f.sub.Len())
	}
	f.upto[d.Channel] = d.Entry.Position
}

// tell tells the hooks of what was just written.
func (f *fetcher) tell() {
	d := f.latest
	if f.latest = nil; d == nil {
		return
	}
	if hook := f.h.o.Hooks.Delivered; hook != nil && f.h.sampleNow() {
		if _, live := f.sub.Live(d.Channel); live {
			hook(f.h.age(d.Entry.Position))
		}
	}
	for i, p := range f.upto {
		if p == f.told[i] {
			continue
		}
		if _, live := f.sub.Live(i); live { // else who was reached would count anew
			f.h.o.Hooks.Sent(f.sub.Channel(i), f.told[i], p, 1)
			f.told[i] = p
		}
	}
}

// sampleNow tells whether a stream with a goroutine may give a sample, and then
// no other may for a while.
func (h *Handler) sampleNow() bool {
	now, before := time.Now().UnixNano(), h.sampled.Load()
	return now-before >= int64(sampleInterval) && h.sampled.CompareAndSwap(before, now)
}
