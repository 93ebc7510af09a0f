package sse

import (
	"errors"
	mathrand "math/rand/v2"
	"net/http"
	"time"

	"realtime-gateway/pkg/channels"
)

// batch is how many deliveries are fetched for one write.
const batch = 256

// maxWrite is about how many bytes one write carries at most: it is what a
// slow client may hold besides its place.
const maxWrite = 256 << 10

// spareBuffer is the largest write buffer that an idle stream keeps.
const spareBuffer = 4 << 10

// Stream answers with an event stream that lasts until the client leaves, the
// session expires, the replica drains, or a write fails. Where a loop takes the
// connection over, Stream returns at once, and the server must be one whose
// requests carry their connection; see WithConn. What is temporary is
// answered with a stream too, which says so and ends: a browser's EventSource
// gives up for ever on any status but 200. The error is that of
// channels.Hub.Subscribe, and then nothing has been written.
//
// w must be the server's own ResponseWriter: flushing through a wrapper that
// hides errors would leave a dead stream open.
func (h *Handler) Stream(w http.ResponseWriter, r *http.Request, session Session) error {
	defer session.release() // unless a loop has taken it
	if h.engine != nil {
		if err := h.engine.stream(w, r, &session); !errors.Is(err, errNoTakeover) {
			return err
		}
	}
	s := h.newStream()
	s.named("goroutine", &session)
	out := h.writer(w)
	out.lift = r.ProtoMajor == 2
	if reason, ok := h.add(s); !ok {
		h.refuse(out, reason, "")
		return nil
	}
	defer h.remove(s)
	sub, err := h.o.Hub.Subscribe(s, session.Requests)
	if err != nil {
		return err
	}
	defer sub.Close()
	session.Holder.bind(s)
	defer session.Holder.bind(nil)
	if reason, text := h.await(r, s, sub, session.Holder); reason != "" {
		h.refuse(out, reason, text)
		return nil
	}
	if h.o.Hooks.Opened != nil {
		h.o.Hooks.Opened(session.resumes())
	}
	reason := h.serve(r, s, sub, session, out)
	if h.o.Hooks.Closed != nil {
		h.o.Hooks.Closed(reason, h.o.Now().Sub(s.opened))
	}
	h.o.Logger.Debug("stream closed", "connection", s.id, "user", session.Holder.user(), "reason", reason)
	return nil
}

// await waits until the channels are joined. It returns why the stream cannot
// begin, or nothing; text is for the client.
func (h *Handler) await(r *http.Request, s *stream, sub *channels.Subscriber, holder *Holder) (reason CloseReason, text string) {
	ready := func() bool {
		if holder.hasOrders() {
			v := holder.obey(sub)
			s.notices = append(s.notices, v.notices...)
			s.lost(v.lost)
			if v.end != nil {
				reason, text = v.end.reason, v.end.text
				return true
			}
		}
		return sub.Begun(h.o.Hub.Now())
	}
	if ready() {
		return reason, text
	}
	timeout := time.NewTimer(h.o.JoinTimeout)
	defer timeout.Stop()
	for {
		select {
		case <-s.awake:
			if ready() {
				return reason, text
			}
		case <-timeout.C:
			return CloseUnavailable, ""
		case reason := <-s.ending:
			return reason, ""
		case <-r.Context().Done():
			return CloseUnavailable, ""
		}
	}
}

// The reasons for which a stream ends without the gateway's doing.
const (
	endedByClient = "client"
	endedByWrite  = "write"
)

// serve writes until the stream ends, and returns why it did.
func (h *Handler) serve(r *http.Request, s *stream, sub *channels.Subscriber, session Session, out *writer) string {
	streamHeaders(out.w.Header())
	out.w.WriteHeader(http.StatusOK)
	out.buf = appendOpen(out.buf, sub, open{Connection: s.id, Replica: h.o.Replica, Heartbeat: h.o.Heartbeat.Milliseconds()}, retryDelay())
	out.buf = append(out.buf, s.notices...) // what was lost meanwhile
	s.notices = nil

	heartbeat := time.NewTimer(h.heartbeatDelay())
	defer heartbeat.Stop()
	var expired <-chan time.Time
	if !session.Expires.IsZero() {
		timer := time.NewTimer(session.Expires.Sub(h.o.Now()))
		defer timer.Stop()
		expired = timer.C
	}
	var aged <-chan time.Time
	if h.o.MaxAge > 0 {
		timer := time.NewTimer(h.lifespan(mathrand.Float64()))
		defer timer.Stop()
		aged = timer.C
	}
	part := func(reason CloseReason, text string) string {
		out.buf = appendClose(out.buf, reason, text, retryDelay())
		_ = out.flush() // ending either way
		return string(reason)
	}
	bye := func(reason CloseReason) string { return part(reason, "") }
	f := fetcher{h: h, s: s, sub: sub, holder: session.Holder, out: out}
	for {
		if !session.Expires.IsZero() && !h.o.Now().Before(session.Expires) {
			return bye(CloseTokenExpired)
		}
		more := f.fetch()
		if f.end != nil {
			return part(f.end.reason, f.end.text)
		}
		if len(out.buf) > 0 {
			if out.flush() != nil {
				return endedByWrite
			}
			heartbeat.Reset(h.heartbeatDelay())
			f.tell()
		}
		if more {
			// Even with events without end, and between any two writes of a long
			// replay, the stream must hear when to stop.
			select {
			case <-r.Context().Done():
				return endedByClient
			case <-expired:
				return bye(CloseTokenExpired)
			case reason := <-s.ending:
				return part(f.finish(reason))
			case <-aged:
				return part(f.finish(CloseMaxAge))
			default:
				continue
			}
		}
		f.pending = nil
		select {
		case <-s.awake:
		case <-heartbeat.C:
			out.buf = appendHeartbeat(out.buf, session.HeartbeatEvents)
		case <-expired:
			return bye(CloseTokenExpired)
		case reason := <-s.ending:
			return part(f.finish(reason))
		case <-aged:
			return part(f.finish(CloseMaxAge))
		case <-r.Context().Done():
			return endedByClient
		}
	}
}

// fetcher encodes what is ready for a stream.
type fetcher struct {
	h       *Handler
	s       *stream
	sub     *channels.Subscriber
	holder  *Holder
	out     *writer
	pending []channels.Delivery
	end     *order // why the stream ends, once it does

	latest *channels.Delivery  // the last event that was encoded for the next write
	upto   []channels.Position // per channel, where that is; kept only for Hooks.Sent
	told   []channels.Position // per channel, up to where the hook was called
}

// fetch encodes what is ready, as much as one write carries; pending keeps the
// rest. It reports whether there may be more.
func (f *fetcher) fetch() (more bool) {
	more = true // after a rest there always may be
	var err error
	if len(f.pending) == 0 {
		f.pending, err = f.sub.Next(f.h.o.Hub.Now(), f.pending, batch, maxWrite)
		more = len(f.pending) >= batch
	}
	// Asked behind Next: what came after an order is not sent.
	if f.holder.hasOrders() {
		v := f.holder.obey(f.sub)
		f.out.buf = append(f.out.buf, v.notices...)
		f.s.lost(v.lost)
		if f.end = v.end; f.end != nil {
			return false
		}
	}
	n := 0
	for n < len(f.pending) && len(f.out.buf) < maxWrite {
		if d := &f.pending[n]; !f.sub.Dropped(d.Channel) {
			f.out.buf = appendDelivery(f.out.buf, f.sub, d)
			f.out.events++
			f.note(d)
		}
		n++
	}
	f.pending = f.pending[n:]
	if errors.Is(err, channels.ErrSlow) {
		f.end = &order{reason: CloseSlow}
	}
	return more || len(f.pending) > 0 || len(f.out.buf) >= maxWrite/2
}

// finish encodes what came before the end, which is still delivered.
func (f *fetcher) finish(reason CloseReason) (CloseReason, string) {
	f.sub.Finish()
	f.fetch()
	if f.end != nil {
		return f.end.reason, f.end.text
	}
	return reason, ""
}

// Refuse answers with a stream that says when to come back, and ends.
func (h *Handler) Refuse(w http.ResponseWriter, reason CloseReason) {
	h.refuse(h.writer(w), reason, "")
}

// RefuseLimit is Refuse with CloseLimit. It names the limit to the client, and
// has it come back later than one that was refused for the replica's sake.
func (h *Handler) RefuseLimit(w http.ResponseWriter, limit string) {
	h.answer(h.writer(w), CloseLimit, appendLimited(nil, limit, LimitRetry()))
}

func (h *Handler) refuse(out *writer, reason CloseReason, text string) {
	h.answer(out, reason, appendClose(nil, reason, text, retryDelay()))
}

// answer writes a stream that is nothing but its end.
func (h *Handler) answer(out *writer, reason CloseReason, bye []byte) {
	if h.o.Hooks.Refused != nil {
		h.o.Hooks.Refused(reason)
	}
	streamHeaders(out.w.Header())
	out.w.WriteHeader(http.StatusOK)
	out.buf = bye
	_ = out.flush()
}

// streamHeaders keeps intermediaries from buffering, caching or transforming.
func streamHeaders(h http.Header) {
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx buffers proxied answers unless told
	h.Set("X-Content-Type-Options", "nosniff")
}

// writer collects bytes and sends them under a deadline. Any error means that
// the stream is over.
type writer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	lift    bool // an HTTP/2 stream is reset at its deadline, also if nothing is being written
	now     func() time.Time
	wrote   func(writes, events, bytes int)
	buf     []byte
	events  int
}

func (h *Handler) writer(w http.ResponseWriter) *writer {
	return &writer{w: w, control: http.NewResponseController(w), timeout: h.o.WriteTimeout, now: h.o.Now, wrote: h.o.Hooks.Wrote}
}

func (o *writer) flush() error {
	if err := o.control.SetWriteDeadline(o.now().Add(o.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := o.w.Write(o.buf); err != nil {
		return err
	}
	if err := o.control.Flush(); err != nil {
		return err
	}
	if o.lift {
		if err := o.control.SetWriteDeadline(time.Time{}); err != nil {
			return err
		}
	}
	if o.wrote != nil {
		o.wrote(1, o.events, len(o.buf))
	}
	o.events, o.buf = 0, o.buf[:0]
	if cap(o.buf) > spareBuffer {
		o.buf = nil
	}
	return nil
}
