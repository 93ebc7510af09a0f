package sse

import (
	"errors"
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
	if h.engine != nil {
		if err := h.engine.stream(w, r, session); !errors.Is(err, errNoTakeover) {
			return err
		}
	}
	s := h.newStream()
	out := h.writer(w)
	out.lift = r.ProtoMajor == 2
	if reason, ok := h.add(s); !ok {
		h.refuse(out, reason)
		return nil
	}
	defer h.remove(s)
	sub, err := h.o.Hub.Subscribe(s, session.Requests)
	if err != nil {
		return err
	}
	defer sub.Close()
	if reason := h.await(r, s, sub); reason != "" {
		h.refuse(out, reason)
		return nil
	}
	if h.o.Hooks.Opened != nil {
		h.o.Hooks.Opened()
	}
	reason := h.serve(r, s, sub, session, out)
	if h.o.Hooks.Closed != nil {
		h.o.Hooks.Closed(reason, h.o.Now().Sub(s.opened))
	}
	h.o.Logger.Debug("stream closed", "connection", s.id, "user", session.User, "reason", reason)
	return nil
}

// await waits until the channels are joined. It returns why the stream cannot
// begin, or nothing.
func (h *Handler) await(r *http.Request, s *stream, sub *channels.Subscriber) CloseReason {
	if sub.Begun(h.o.Hub.Now()) {
		return ""
	}
	timeout := time.NewTimer(h.o.JoinTimeout)
	defer timeout.Stop()
	for {
		select {
		case <-s.awake:
			if sub.Begun(h.o.Hub.Now()) {
				return ""
			}
		case <-timeout.C:
			return CloseUnavailable
		case reason := <-s.ending:
			return reason
		case <-r.Context().Done():
			return CloseUnavailable
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

	heartbeat := time.NewTimer(h.heartbeatDelay())
	defer heartbeat.Stop()
	var expired <-chan time.Time
	if !session.Expires.IsZero() {
		timer := time.NewTimer(session.Expires.Sub(h.o.Now()))
		defer timer.Stop()
		expired = timer.C
	}
	bye := func(reason CloseReason) string {
		out.buf = appendClose(out.buf, reason, retryDelay())
		_ = out.flush() // ending either way
		return string(reason)
	}
	var pending []channels.Delivery
	for {
		if !session.Expires.IsZero() && !h.o.Now().Before(session.Expires) {
			return bye(CloseTokenExpired)
		}
		more, slow := h.fetch(sub, &pending, out)
		if len(out.buf) > 0 {
			if out.flush() != nil {
				return endedByWrite
			}
			heartbeat.Reset(h.heartbeatDelay())
		}
		if slow {
			return bye(CloseSlow)
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
				sub.Finish()
				h.fetch(sub, &pending, out)
				return bye(reason)
			default:
				continue
			}
		}
		pending = nil
		select {
		case <-s.awake:
		case <-heartbeat.C:
			out.buf = appendHeartbeat(out.buf, session.HeartbeatEvents)
		case <-expired:
			return bye(CloseTokenExpired)
		case reason := <-s.ending:
			// What came before the end is still delivered.
			sub.Finish()
			h.fetch(sub, &pending, out)
			return bye(reason)
		case <-r.Context().Done():
			return endedByClient
		}
	}
}

// fetch encodes what is ready, as much as one write carries; pending keeps the
// rest. It reports whether there may be more, and whether the subscriber is too
// slow to go on.
func (h *Handler) fetch(sub *channels.Subscriber, pending *[]channels.Delivery, out *writer) (more, slow bool) {
	more = true // after a rest there always may be
	if len(*pending) == 0 {
		var err error
		*pending, err = sub.Next(h.o.Hub.Now(), *pending, batch, maxWrite)
		more, slow = len(*pending) >= batch, errors.Is(err, channels.ErrSlow)
	}
	n := 0
	for n < len(*pending) && len(out.buf) < maxWrite {
		out.buf = appendDelivery(out.buf, sub, &(*pending)[n])
		n++
	}
	out.events += n
	*pending = (*pending)[n:]
	return more || len(*pending) > 0 || len(out.buf) >= maxWrite/2, slow
}

// Refuse answers with a stream that says when to come back, and ends.
func (h *Handler) Refuse(w http.ResponseWriter, reason CloseReason) { h.refuse(h.writer(w), reason) }

func (h *Handler) refuse(out *writer, reason CloseReason) {
	if h.o.Hooks.Refused != nil {
		h.o.Hooks.Refused(reason)
	}
	streamHeaders(out.w.Header())
	out.w.WriteHeader(http.StatusOK)
	out.buf = appendClose(out.buf, reason, retryDelay())
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
