package sse

import (
	"context"
	mathrand "math/rand/v2"
	"time"
)

// Drain refuses new streams from now on and ends the open ones spread evenly
// over d, in random order, each with its own retry, so that the other replicas
// are not stormed. It returns when all have ended, or with ctx's error.
func (h *Handler) Drain(ctx context.Context, d time.Duration) error {
	h.mu.Lock()
	h.draining = true
	open := make([]ender, 0, len(h.streams))
	for s := range h.streams {
		open = append(open, s)
	}
	h.mu.Unlock()
	mathrand.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })

	begin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, s := range open {
		// Streams end in the middle of their share of the time: the first not
		// at once, the last not at the very end.
		due := begin.Add(time.Duration((float64(i) + 0.5) / float64(len(open)) * float64(d)))
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		s.end(CloseDraining)
	}
	ended := make(chan struct{})
	go func() {
		h.left.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Draining tells whether Drain has begun. It is safe for concurrent use.
func (h *Handler) Draining() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining
}
