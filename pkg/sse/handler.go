package sse

import (
	"crypto/rand"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"realtime-gateway/pkg/channels"
)

// Options configure a Handler.
type Options struct {
	Hub *channels.Hub // required
	// Replica is this process' name, told to clients for support.
	Replica string
	// Heartbeat is how long a stream may be silent before a heartbeat goes
	// out, jittered by a fifth. If zero, 20 s.
	Heartbeat time.Duration
	// WriteTimeout is how long one write may take before the client counts as
	// gone. If zero, 10 s.
	WriteTimeout time.Duration
	// JoinTimeout is how long a new stream waits for its channels before it is
	// refused as unavailable. If zero, 5 s.
	JoinTimeout time.Duration
	// PollTimeout is how long Poll waits for something to answer. If zero, 25 s.
	PollTimeout time.Duration
	Hooks       Hooks
	Logger      *slog.Logger     // if nil, slog.Default()
	Now         func() time.Time // if nil, time.Now
}

// Hooks are optional observers; nil fields are skipped. They must not block.
type Hooks struct {
	Opened  func()                                  // a stream began
	Closed  func(reason string, open time.Duration) // it ended: a CloseReason, or "client" or "write"
	Refused func(reason CloseReason)                // a stream was refused for now
	Wrote   func(events, bytes int)                 // one write went out
}

// Session is what the caller has decided about one connection: who it is, and
// what it may read.
type Session struct {
	Requests []channels.Request
	User     string    // for logs; empty for nobody
	Expires  time.Time // when the right to read ends; zero for never
	// HeartbeatEvents asks for gateway.heartbeat events in place of comments.
	HeartbeatEvents bool
}

// Handler serves subscribers over HTTP with a goroutine for each. Safe for
// concurrent use.
type Handler struct {
	o Options

	mu       sync.Mutex
	draining bool
	streams  map[*stream]struct{}
	left     sync.WaitGroup // streams that have not ended
}

// New returns a handler over o.Hub.
func New(o Options) *Handler {
	setDefault(&o.Heartbeat, 20*time.Second)
	setDefault(&o.WriteTimeout, 10*time.Second)
	setDefault(&o.JoinTimeout, 5*time.Second)
	setDefault(&o.PollTimeout, 25*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Handler{o: o, streams: make(map[*stream]struct{})}
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Connections returns how many streams and polls are open.
func (h *Handler) Connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

// add registers a stream, or reports why there can be none now.
func (h *Handler) add(s *stream) (CloseReason, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return CloseDraining, false
	}
	if !h.o.Hub.Ready() {
		return CloseUnavailable, false
	}
	h.streams[s] = struct{}{}
	h.left.Add(1)
	return "", true
}

func (h *Handler) remove(s *stream) {
	h.mu.Lock()
	delete(h.streams, s)
	h.mu.Unlock()
	h.left.Done()
}

// Bounds of the retry that a client is told. Each gets its own, so that
// clients that lost their streams together do not come back together.
const (
	minRetry = 500 * time.Millisecond
	maxRetry = 3 * time.Second
)

func retryDelay() time.Duration {
	return minRetry + mathrand.N(maxRetry-minRetry)
}

func (h *Handler) heartbeatDelay() time.Duration {
	d := h.o.Heartbeat
	return d*4/5 + mathrand.N(d*2/5)
}

// stream is one open connection: what wakes it and what ends it. It is the
// channels.Waker of its subscriptions.
type stream struct {
	id     string
	opened time.Time
	awake  chan struct{}    // holds one token while there may be something to fetch
	ending chan CloseReason // holds the first reason to end
}

func (h *Handler) newStream() *stream {
	return &stream{
		id:     rand.Text(),
		opened: h.o.Now(),
		awake:  make(chan struct{}, 1),
		ending: make(chan CloseReason, 1),
	}
}

// Wake implements channels.Waker.
func (s *stream) Wake() {
	select {
	case s.awake <- struct{}{}:
	default:
	}
}

// end asks the stream to end; the first reason wins.
func (s *stream) end(reason CloseReason) {
	select {
	case s.ending <- reason:
	default:
	}
}
