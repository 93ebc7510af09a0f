package channels

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// maxWorkers bounds how many streams are read at the same time: after an
// outage every channel wants to be read at once, and Redis is one thread.
const maxWorkers = 16

// workers runs jobs in the order they came, a bounded number at a time, and
// keeps no goroutine when there are none.
type workers struct {
	mu      sync.Mutex
	ctx     context.Context // nil until start
	jobs    []func(context.Context)
	running int
	done    sync.WaitGroup
}

func (w *workers) start(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx = ctx
	for range min(len(w.jobs), maxWorkers) {
		w.runLocked()
	}
}

// do queues a job and reports whether it will run: after the context's end no
// job does.
func (w *workers) do(job func(context.Context)) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx != nil && w.ctx.Err() != nil {
		return false
	}
	w.jobs = append(w.jobs, job)
	if w.ctx != nil && w.running < maxWorkers {
		w.runLocked()
	}
	return true
}

func (w *workers) runLocked() {
	w.running++
	w.done.Add(1)
	go func() {
		defer w.done.Done()
		for {
			w.mu.Lock()
			if len(w.jobs) == 0 {
				w.jobs = nil
				w.running--
				w.mu.Unlock()
				return
			}
			job := w.jobs[0]
			w.jobs[0] = nil
			w.jobs = w.jobs[1:]
			w.mu.Unlock()
			job(w.ctx)
		}
	}()
}

func (w *workers) wait() { w.done.Wait() }

// jitter spreads d by a fifth to either side, so that replicas do not act in
// step.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()*2-1)*0.2*float64(d))
}
