package harness

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Follower is a client that does what a browser does: when its stream ends it
// comes back with the last event id, here to the next replica each time. Its
// Record spans all its connections.
type Follower struct {
	Record

	sub     Subscribe
	urls    []string
	patient bool // it waits for as long as it is told

	mu          sync.Mutex
	current     *Stream
	connections int
	arrivals    []time.Time

	cancel context.CancelFunc
	done   chan struct{}
}

// soon is when a follower comes back that need not wait.
const soon = 20 * time.Millisecond

// Follow starts a follower at the first of urls. It comes back sooner than it is
// told, to find out more in less time.
func Follow(sub Subscribe, urls ...string) *Follower { return begin(&Follower{sub: sub, urls: urls}) }

// Browse starts a follower that comes back when the retry field says, as an
// EventSource does.
func Browse(sub Subscribe, urls ...string) *Follower {
	return begin(&Follower{sub: sub, urls: urls, patient: true})
}

func begin(f *Follower) *Follower {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, f.done = cancel, make(chan struct{})
	f.cursor = f.sub.From
	go f.run(ctx)
	return f
}

// Hop drops the present connection, as a lost network does.
func (f *Follower) Hop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current != nil {
		f.current.cancel()
	}
}

// Connections tells how many streams there were so far.
func (f *Follower) Connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.connections
}

// Arrivals tells when it asked for a stream, whatever the answer was.
func (f *Follower) Arrivals() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.arrivals)
}

// Close ends the follower and waits for it.
func (f *Follower) Close() {
	f.cancel()
	f.Hop()
	<-f.done
}

func (f *Follower) run(ctx context.Context) {
	defer close(f.done)
	wait := soon // a replica may be away
	for next := 0; ctx.Err() == nil; next++ {
		told := f.connect(ctx, f.urls[next%len(f.urls)])
		if f.patient && told > 0 {
			wait = told
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// connect follows one stream to its end, and returns when to come back, if it was
// told.
func (f *Follower) connect(ctx context.Context, url string) (retry time.Duration) {
	sub := f.sub
	sub.From = f.Now().Cursor
	f.mu.Lock()
	f.arrivals = append(f.arrivals, time.Now())
	f.mu.Unlock()
	s, err := Open(url, sub)
	if err != nil {
		return 0
	}
	if s.Status != http.StatusOK {
		// A browser would give up here; a waiting test shows why.
		f.change(func() { f.endErr = fmt.Errorf("status %d: %s", s.Status, s.Problem) })
		return 0
	}
	defer s.Close()
	f.mu.Lock()
	f.current = s
	f.connections++
	f.mu.Unlock()
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	for taken := 0; ; {
		v, changed := s.look()
		f.change(func() {
			f.events = append(f.events, v.Events[taken:]...)
			if v.Cursor != "" {
				f.cursor = v.Cursor
			}
		})
		taken = len(v.Events)
		if v.Ended {
			if n := len(v.Retries); n > 0 {
				ms, _ := strconv.Atoi(v.Retries[n-1]) // what is no number does not count
				retry = time.Duration(ms) * time.Millisecond
			}
			return retry
		}
		<-changed
	}
}
