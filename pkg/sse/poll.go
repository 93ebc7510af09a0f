package sse

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"realtime-gateway/pkg/channels"
)

// Answer is what Poll answers, and what a page of history looks like.
type Answer struct {
	Events []json.RawMessage `json:"events"` // the objects of the events' data fields
	Gaps   []Gap             `json:"gaps"`
	Cursor string            `json:"cursor"`
}

// unmovedWait is how long a poll waits for more than gaps that leave the cursor
// where it was.
const unmovedWait = time.Second

// Poll answers once, as JSON, as soon as there is something and when nothing
// came for Options.PollTimeout: the same replay as a stream, for networks that
// hold streams back. When it returns a reason, nothing has been written, and
// the client should come back later unless it is CloseRevoked. The error is that of
// channels.Hub.Subscribe.
func (h *Handler) Poll(w http.ResponseWriter, r *http.Request, session Session) (CloseReason, error) {
	defer session.release()
	s := h.newStream()
	s.named("poll", &session)
	if reason, ok := h.add(s); !ok {
		return reason, nil
	}
	defer h.remove(s)
	sub, err := h.o.Hub.Subscribe(s, session.Requests)
	if err != nil {
		return "", err
	}
	defer sub.Close()
	session.Holder.bind(s)
	defer session.Holder.bind(nil)
	if reason, _ := h.await(r, s, sub, session.Holder); reason != "" {
		return reason, nil
	}
	answer := Answer{Events: []json.RawMessage{}, Gaps: []Gap{}}
	wait := h.o.PollTimeout
	if !session.Expires.IsZero() {
		wait = min(wait, session.Expires.Sub(h.o.Now()))
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for waiting := true; ; {
		if !session.Expires.IsZero() && !h.o.Now().Before(session.Expires) {
			break // with what was answered so far: nothing
		}
		deliveries, err := sub.Next(h.o.Hub.Now(), nil, batch, maxWrite)
		if session.Holder.hasOrders() { // asked behind Next: what came after an order is not answered
			v := session.Holder.obey(sub)
			if s.lost(v.lost); v.end != nil {
				return v.end.reason, nil
			}
		}
		moved := false
		for i := range deliveries {
			d := &deliveries[i]
			if sub.Dropped(d.Channel) {
				continue
			}
			moved = moved || d.Gap == nil || d.Gap.From != d.Gap.To
			sub.Advance(d)
			if d.Gap != nil {
				answer.Gaps = append(answer.Gaps, GapOf(d.Gap))
			} else {
				answer.Events = append(answer.Events, d.Entry.Encoded.JSON())
			}
		}
		if err != nil && len(deliveries) == 0 {
			return CloseSlow, nil
		}
		if moved || !waiting {
			break
		}
		if len(deliveries) > 0 {
			// The client knows more than Redis, and the next poll would be answered
			// with the same at once.
			timeout.Reset(min(wait, unmovedWait))
		}
		select {
		case <-s.awake:
		case <-timeout.C:
			waiting = false
		case reason := <-s.ending:
			return reason, nil
		case <-r.Context().Done():
			return "", nil
		}
	}
	answer.Cursor = string(sub.AppendCursor(nil))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	// Like a stream, and for the same reason: a client that does not read must
	// not hold what it was given, nor the drain.
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(h.o.Now().Add(h.o.WriteTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return "", err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // events stay as they are on a stream
	return "", enc.Encode(answer)
}

// NewCursor returns the cursor of a connection with this one channel.
func NewCursor(channel string, p channels.Position) string {
	return string(channels.AppendCursor(nil, []channels.Mark{{Hash: channels.HashName(channel), Position: p}}))
}
