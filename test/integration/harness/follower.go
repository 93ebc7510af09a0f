package harness

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Follower is a client that does what a browser does: when its stream ends it
// comes back with the last event id, here to the next replica each time. Its
// Record spans all its connections.
type Follower struct {
	Record

	sub  Subscribe
	urls []string

	mu          sync.Mutex
	current     *Stream
	connections int

	cancel context.CancelFunc
	done   chan struct{}
}

// Follow starts a follower at the first of urls.
func Follow(sub Subscribe, urls ...string) *Follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &Follower{sub: sub, urls: urls, cancel: cancel, done: make(chan struct{})}
	f.cursor = sub.From
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

// Close ends the follower and waits for it.
func (f *Follower) Close() {
	f.cancel()
	f.Hop()
	<-f.done
}

func (f *Follower) run(ctx context.Context) {
	defer close(f.done)
	for next := 0; ctx.Err() == nil; next++ {
		f.connect(ctx, f.urls[next%len(f.urls)])
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond): // a replica may be away
		}
	}
}

func (f *Follower) connect(ctx context.Context, url string) {
	sub := f.sub
	sub.From = f.Now().Cursor
	s, err := Open(url, sub)
	if err != nil {
		return
	}
	if s.Status != http.StatusOK {
		// A browser would give up here; a waiting test shows why.
		f.change(func() { f.endErr = fmt.Errorf("status %d: %s", s.Status, s.Problem) })
		return
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
			return
		}
		<-changed
	}
}
