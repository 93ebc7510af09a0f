package sse

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"realtime-gateway/pkg/channels"
)

// engine writes to many connections from few goroutines. A connection that it
// has taken over from the HTTP server costs a descriptor and its place in the
// logs of its channels: no goroutine, no buffer, no timer.
type engine struct {
	h     *Handler
	loops []*loop
	turn  atomic.Uint32

	warned atomic.Int64 // when descriptors last ran out, in Unix seconds
}

// warnInterval is how many seconds there have to be descriptors before their
// lack is news again.
const warnInterval = 10

func newEngine(h *Handler, loops int) (*engine, error) {
	e := &engine{h: h}
	for range loops {
		l, err := newLoop(h)
		if err != nil {
			for _, l := range e.loops {
				_ = l.poll.close()
			}
			return nil, err
		}
		e.loops = append(e.loops, l)
	}
	return e, nil
}

// run serves until ctx ends, and then cuts what is still open.
func (e *engine) run(ctx context.Context) {
	var loops sync.WaitGroup
	for _, l := range e.loops {
		loops.Go(func() { l.run(ctx) })
	}
	loops.Wait()
}

func (e *engine) connections() int {
	n := 0
	for _, l := range e.loops {
		n += int(l.open.Load())
	}
	return n
}

// stream takes a request's connection over and returns; the stream goes on in
// a loop, which then has the session's permit. The error is errNoTakeover where
// that is not possible, or that of channels.Hub.Subscribe; then nothing has been
// written.
func (e *engine) stream(w http.ResponseWriter, r *http.Request, session *Session) error {
	h := e.h
	l := e.loops[int(e.turn.Add(1))%len(e.loops)]
	c := &conn{
		loop: l, holder: session.Holder, opened: h.o.Now().UnixMilli(), heartbeatEvents: session.HeartbeatEvents,
		resumed: session.resumes(),
	}
	_, _ = rand.Read(c.id[:]) // never fails
	if c.feeds = c.single[:]; len(session.Requests) != 1 {
		c.feeds = make([]membership, len(session.Requests))
	}
	if !session.Expires.IsZero() {
		c.expires = session.Expires.UnixMilli()
	}
	fd, err := duplicate(r)
	if errors.Is(err, errNoTakeover) {
		return err
	}
	if err != nil {
		if now := time.Now().Unix(); now-e.warned.Swap(now) >= warnInterval {
			h.o.Logger.Warn("no descriptor for another stream; raise the limit of open files", "error", err)
		}
		h.refuse(h.writer(w), CloseFull, "")
		return nil
	}
	c.fd = int32(fd)
	reason, ok := h.add(c)
	if !ok {
		_ = unix.Close(fd)
		h.refuse(h.writer(w), reason, "")
		return nil
	}
	undo := func() {
		session.Holder.bind(nil)
		l.forsake(c)
		_ = unix.Close(fd)
		h.remove(c)
	}
	session.Holder.bind(c)
	requests := slices.Clone(session.Requests)
	for i := range requests {
		c.feeds[i].feed = l.feed(requests[i].Channel)
		requests[i].Group = c.feeds[i].feed
	}
	if c.sub, err = h.o.Hub.Subscribe(c, requests); err != nil {
		undo()
		return err
	}
	c.hold().head = head(w.Header(), h.o.Now())
	if err := release(w); err != nil {
		c.sub.Close()
		undo()
		if errors.Is(err, http.ErrNotSupported) {
			return errNoTakeover
		}
		return nil // the client is gone
	}
	if session.Permit != nil {
		if c.holder == nil {
			c.holder = &Holder{}
		}
		c.holder.permit, session.Permit = session.Permit, nil
	}
	l.attach(c)
	return nil
}

// head is the status line and the header, with the connection's end as that of
// the body: so the same bytes serve every connection, and a cut is no error.
func head(h http.Header, now time.Time) []byte {
	streamHeaders(h)
	h.Set("Connection", "close")
	if h.Get("Date") == "" { // as net/http does it; RFC 9110, section 6.6.1, wants one
		h.Set("Date", now.UTC().Format(http.TimeFormat))
	}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	_ = h.Write(&b) // to memory
	b.WriteString("\r\n")
	return b.Bytes()
}

// membership is a connection's place among a feed's members.
type membership struct {
	feed *feed
	at   int32
}

// feed is who follows one channel on one loop. It is the channels.Waker of all
// of them: an event wakes the loop once.
type feed struct {
	loop   *loop
	name   string
	refs   int         // guarded by loop.mu
	queued atomic.Bool // waits in the loop's inbox

	// Owned by the loop.
	members []member
	next    int               // the member whose turn it is
	left    int               // how many have not had theirs since the last wake
	active  bool              // is in loop.active
	given   member            // that was last given events
	told    channels.Position // up to which Hooks.Sent was called
}

type member struct {
	conn    *conn
	channel int32 // index into the connection's requests
}

var _ channels.Deferrer = (*feed)(nil)

// Wake implements channels.Waker.
func (f *feed) Wake() {
	if f.queue() {
		f.loop.wake()
	}
}

// WakeSoon implements channels.Deferrer.
func (f *feed) WakeSoon() channels.Kicker {
	if f.queue() {
		return f.loop
	}
	return nil
}

// queue puts the feed into the loop's inbox, unless it is there.
func (f *feed) queue() bool {
	if f.queued.Swap(true) {
		return false
	}
	f.loop.mu.Lock()
	f.loop.in.feeds = append(f.loop.in.feeds, f)
	f.loop.mu.Unlock()
	return true
}

func (f *feed) join(c *conn, channel int) {
	c.feeds[channel].at = int32(len(f.members))
	f.members = append(f.members, member{c, int32(channel)})
}

func (f *feed) leave(at int32) {
	last := len(f.members) - 1
	moved := f.members[last]
	f.members[at] = moved
	moved.conn.feeds[moved.channel].at = at
	f.members[last] = member{}
	f.members = f.members[:last]
	if f.left > 0 {
		f.left = last // who was moved may not have had its turn
	}
}
