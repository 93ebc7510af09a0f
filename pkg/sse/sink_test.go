package sse

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sink is a ResponseWriter in memory, for tests in virtual time.
type sink struct {
	flush func() error // what FlushError does, if not nil

	mu     sync.Mutex
	header http.Header
	status int
	text   bytes.Buffer
}

func newSink() *sink { return &sink{header: make(http.Header)} }

func (s *sink) Header() http.Header              { return s.header }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

func (s *sink) WriteHeader(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *sink) FlushError() error {
	if s.flush != nil {
		return s.flush()
	}
	return nil
}

// String is what was written so far.
func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *sink) frames() []frame { return newParser(strings.NewReader(s.String())).all() }

// running is a stream into a sink.
type running struct {
	*sink
	leave context.CancelFunc // the client goes
	ended chan struct{}
	err   error
	at    time.Time // when it ended
}

// stream starts a stream and, in a synctest bubble, waits until it is idle.
func (f *fixture) stream(s Session, w *sink) *running {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{sink: w, leave: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = f.handler.Stream(w, httptest.NewRequest("GET", "/", nil).WithContext(ctx), s)
		r.at = time.Now()
	}()
	f.t.Cleanup(func() { cancel(); <-r.ended })
	synctest.Wait()
	return r
}

func (r *running) wantEnded(t *testing.T) {
	t.Helper()
	synctest.Wait()
	select {
	case <-r.ended:
	default:
		t.Fatalf("the stream is still open after %.500q", r)
	}
}

func (r *running) wantOpen(t *testing.T) {
	t.Helper()
	synctest.Wait()
	select {
	case <-r.ended:
		t.Fatalf("the stream has ended: %.500q", r)
	default:
	}
}
