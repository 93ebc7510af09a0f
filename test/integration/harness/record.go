package harness

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Record is what a client has heard so far. Safe for concurrent use.
type Record struct {
	mu       sync.Mutex
	events   []Event
	cursor   string
	comments int
	retries  []string
	ended    bool
	endErr   error
	changed  chan struct{} // closed, and replaced, at every change
}

// View is a Record at one moment.
type View struct {
	Events   []Event
	Cursor   string   // the last event id, what a browser would resume with
	Comments int      // comment lines
	Retries  []string // values of retry fields
	Ended    bool     // the server ended the stream, or it broke
	EndErr   error    // how it broke, if not in order
}

// Now returns the state so far.
func (r *Record) Now() View {
	v, _ := r.look()
	return v
}

func (r *Record) look() (View, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	n := len(r.events)
	return View{
		Events: r.events[:n:n], Cursor: r.cursor, Comments: r.comments,
		Retries: r.retries[:len(r.retries):len(r.retries)], Ended: r.ended, EndErr: r.endErr,
	}, r.changed
}

func (r *Record) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// Hear adds an event, as a client that is not of this package hands it over.
func (r *Record) Hear(lastEventID, name, data string) {
	r.change(func() {
		r.cursor = lastEventID
		r.events = append(r.events, newEvent(lastEventID, name, data))
	})
}

// End says that such a client hears no more, and why.
func (r *Record) End(err error) { r.change(func() { r.ended, r.endErr = true, err }) }

// Wait waits until the record is as wanted, and returns it; after limit, an
// error that shows what was heard instead.
func (r *Record) Wait(what string, limit time.Duration, wanted func(View) bool) (View, error) {
	timeout := time.After(limit)
	for {
		v, changed := r.look()
		if wanted(v) {
			return v, nil
		}
		select {
		case <-changed:
		case <-timeout:
			return v, fmt.Errorf("%s: not within %v; heard %s", what, limit, v)
		}
	}
}

// String tells the end of the story, which is mostly enough.
func (v View) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events, %d comments, ended %t (%v)", len(v.Events), v.Comments, v.Ended, v.EndErr)
	events := v.Events
	if len(events) > 12 {
		events = events[len(events)-12:]
		b.WriteString(", the last:")
	}
	for _, e := range events {
		data := e.Data
		if len(data) > 200 {
			data = data[:200] + "…"
		}
		fmt.Fprintf(&b, "\n\t%s id=%q %s", e.Name, e.ID, data)
	}
	return b.String()
}

// Published returns the events that somebody published on the channel.
func (v View) Published(channel string) []Event {
	return v.filter(func(e Event) bool { return !e.Own() && e.Channel == channel })
}

// Named returns the events of that name.
func (v View) Named(name string) []Event {
	return v.filter(func(e Event) bool { return e.Name == name })
}

// Gaps returns the channel's gaps.
func (v View) Gaps(channel string) []Event {
	return v.filter(func(e Event) bool { return e.Name == "gateway.gap" && e.Channel == channel })
}

// Of returns the channel's events and gaps, in the order heard.
func (v View) Of(channel string) []Event {
	return v.filter(func(e Event) bool { return e.Channel == channel && (!e.Own() || e.Name == "gateway.gap") })
}

func (v View) filter(keep func(Event) bool) []Event {
	var out []Event
	for _, e := range v.Events {
		if keep(e) {
			out = append(out, e)
		}
	}
	return out
}
