package sse

import (
	"context"
	"crypto/rand"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
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
	// MaxAge is how long a stream lasts at most, jittered by a fifth. Its client
	// comes back, perhaps to a replica that has fewer. If zero, for ever.
	MaxAge time.Duration
	// MaxConnections is how many streams and polls there may be at a time. If
	// zero, any number.
	MaxConnections int
	// Loops is how many loops write to the connections that they take over from
	// the HTTP server; see WithConn. If zero, or on a system other than Linux,
	// every stream has a goroutine. With loops the Handler serves only while Run
	// does.
	Loops  int
	Hooks  Hooks
	Logger *slog.Logger     // if nil, slog.Default()
	Now    func() time.Time // if nil, time.Now
}

// Hooks are optional observers; nil fields are skipped. They must not block.
type Hooks struct {
	Opened  func(resumed bool)                      // a stream began, anew or after a cursor
	Closed  func(reason string, open time.Duration) // it ended: a CloseReason, or "client" or "write"
	Refused func(reason CloseReason)                // a stream was refused for now
	Wrote   func(writes, events, bytes int)         // so much went out
	// Delivered tells how old, by the hub's clock, a live event was when it had
	// been written to a connection. It is a sample: see sampleInterval.
	Delivered func(age time.Duration)
	// Sent says that so many connections have been written what a channel has
	// behind one position, zero for any, up to another. It is called for each
	// event and connection, or by a loop for all of its connections at once, so
	// it must be as quick as a look.
	Sent func(channel string, after, upto channels.Position, connections int)
}

// sampleInterval is how long after a sample of Hooks.Delivered the next one
// comes at the earliest: of a loop, or of all streams with a goroutine.
const sampleInterval = time.Millisecond

// Session is what the caller has decided about one connection: who it is, and
// what it may read.
type Session struct {
	Requests []channels.Request
	Holder   *Holder   // by whom rights are taken back; nil for somebody who has none to lose
	Expires  time.Time // when the right to read ends; zero for never
	// HeartbeatEvents asks for gateway.heartbeat events in place of comments.
	HeartbeatEvents bool
	// Permit, if not nil, is released exactly once: when the stream or poll has
	// ended, or will not begin.
	Permit Permit
}

// Permit is what a connection has of something limited. Release must not block.
type Permit interface{ Release() }

// resumes tells whether the connection goes on after a cursor in any channel.
func (s *Session) resumes() bool {
	return slices.ContainsFunc(s.Requests, func(r channels.Request) bool { return r.Start.Resume != nil || r.Start.Unreadable })
}

// release gives the permit back, unless there is none or it has been handed on.
func (s *Session) release() {
	if s.Permit != nil {
		s.Permit.Release()
	}
}

// Handler serves subscribers over HTTP. It takes plain HTTP/1 connections over
// from the server and writes to them from a few loops, where there are any; the
// others have a goroutine each. Safe for concurrent use.
type Handler struct {
	o      Options
	engine *engine // nil without loops

	sampled atomic.Int64 // when a stream with a goroutine last told its delay, in Unix nanoseconds

	mu       sync.Mutex
	draining bool
	streams  map[ender]struct{}
	left     sync.WaitGroup // streams that have not ended
}

// ender is an open stream or poll, as seen from outside.
type ender interface {
	// end asks it to end; the first reason wins.
	end(reason CloseReason)
}

// New returns a handler over o.Hub. The error is the system's, where it has no
// descriptors left for loops.
func New(o Options) (*Handler, error) {
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
	h := &Handler{o: o, streams: make(map[ender]struct{})}
	if o.Loops > 0 {
		var err error
		if h.engine, err = newEngine(h, o.Loops); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Run runs the loops until ctx ends, and then cuts the streams that are still
// theirs. It returns ctx's error.
func (h *Handler) Run(ctx context.Context) error {
	if h.engine != nil {
		h.engine.run(ctx)
	}
	<-ctx.Done()
	return context.Cause(ctx)
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

// LoopConnections returns how many of the streams are written to by loops.
func (h *Handler) LoopConnections() int {
	if h.engine == nil {
		return 0
	}
	return h.engine.connections()
}

// add registers a stream, or reports why there can be none now.
func (h *Handler) add(s ender) (CloseReason, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return CloseDraining, false
	}
	if !h.o.Hub.Ready() {
		return CloseUnavailable, false
	}
	if h.o.MaxConnections > 0 && len(h.streams) >= h.o.MaxConnections {
		return CloseFull, false
	}
	h.streams[s] = struct{}{}
	h.left.Add(1)
	return "", true
}

func (h *Handler) remove(s ender) {
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

// LimitRetry returns when to come back who was refused by a limit of his own,
// from 5 to 15 s: another replica would not take him either, and others of his
// may have to leave first.
func LimitRetry() time.Duration {
	return 5*time.Second + mathrand.N(10*time.Second)
}

// lifespan is how long a stream may last, of those that begin together each another
// time: share is from 0 to 1.
func (h *Handler) lifespan(share float64) time.Duration {
	d := h.o.MaxAge
	return d*4/5 + time.Duration(share*float64(d*2/5))
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

	notices []byte // of channels that were lost before the stream began
	about   atomic.Pointer[Info]
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
