package sse

import (
	"sync"
	"sync/atomic"

	"realtime-gateway/pkg/channels"
)

// Holder is who has a connection, as far as rights can be taken back while it
// is open. Make one for each Session, and set the fields before it is used. Safe
// for concurrent use from then on.
//
// What End and Lose say holds for everything that becomes available to the
// connection afterwards: of an event that enters a channel's log after they
// returned, not a byte is sent.
type Holder struct {
	User    string // the token's subject; empty for nobody
	TokenID string // the token's own id; empty if it has none
	Issued  int64  // when the token was issued, in Unix milliseconds; 0 if it does not say

	permit Permit // of the loop's connection, which has no other place for it
	mu     sync.Mutex
	waker  channels.Waker        // the connection, once it is there
	orders atomic.Pointer[order] // not carried out yet, the newest first; set under mu
}

// order takes rights from a connection.
type order struct {
	next     *order
	channels channels.Pattern // which channels it loses; the zero Pattern for all
	reason   CloseReason      // why the connection ends, if it does
	text     string           // for the user
}

// End ends the connection. text, if not empty, is the reason that the client is
// told in place of CloseRevoked, and is short and without control characters.
func (h *Holder) End(reason CloseReason, text string) {
	h.order(&order{reason: reason, text: text})
}

// Lose ends the right to the channels that p selects. The connection goes on
// with the others, if there are any, and its client is told of each that it lost
// by gateway.error, with text as reason or, where that is empty, "revoked".
func (h *Holder) Lose(p channels.Pattern, text string) {
	h.order(&order{channels: p, text: text})
}

func (h *Holder) order(o *order) {
	h.mu.Lock()
	o.next = h.orders.Load()
	h.orders.Store(o)
	w := h.waker
	h.mu.Unlock()
	if w != nil {
		w.Wake()
	}
}

// bind has the connection woken by orders. A nil Holder has none.
func (h *Holder) bind(w channels.Waker) {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.waker = w
	h.mu.Unlock()
}

// bound returns the connection, while there is one.
func (h *Holder) bound() channels.Waker {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waker
}

// hasOrders tells whether there are any; it costs next to nothing.
func (h *Holder) hasOrders() bool { return h != nil && h.orders.Load() != nil }

func (h *Holder) take() *order {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.orders.Swap(nil)
}

// giveBack releases the permit. It is called once, by who ends the connection.
func (h *Holder) giveBack() {
	if h != nil && h.permit != nil {
		h.permit.Release()
	}
}

// user is for logs.
func (h *Holder) user() string {
	if h == nil {
		return ""
	}
	return h.User
}

// verdict is what is left of a connection's rights.
type verdict struct {
	lost    []string // channels
	notices []byte   // gateway.error of each of them, to be sent before anything else
	end     *order   // why the connection ends; nil if it goes on
}

// obey carries out the holder's orders on its subscriptions. The goroutine is
// the subscriber's.
func (h *Holder) obey(sub *channels.Subscriber) (v verdict) {
	var lost *order
	for o := h.take(); o != nil; o = o.next {
		if o.reason != "" {
			v.end = o
			continue
		}
		for i := range sub.Len() {
			if sub.Dropped(i) {
				continue
			}
			if name := sub.Channel(i); o.channels.MatchAnyone(name) {
				sub.Drop(i)
				lost = o
				v.lost = append(v.lost, name)
				v.notices = appendError(v.notices, name, o.text)
			}
		}
	}
	if v.end == nil && lost != nil && !anyLeft(sub) {
		v.end = &order{reason: CloseRevoked, text: lost.text}
	}
	return v
}

func anyLeft(sub *channels.Subscriber) bool {
	for i := range sub.Len() {
		if !sub.Dropped(i) {
			return true
		}
	}
	return false
}
