package sse

import (
	"sync"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

// seen is what the hooks were told.
type seen struct {
	mu        sync.Mutex
	opened    map[bool]int
	delivered []time.Duration
	sent      []sentCall
}

type sentCall struct {
	channel     string
	after, upto channels.Position
	connections int
}

func (s *seen) hooks(o *Options) {
	s.opened = make(map[bool]int)
	o.Hooks.Opened = func(resumed bool) { s.mu.Lock(); defer s.mu.Unlock(); s.opened[resumed]++ }
	o.Hooks.Delivered = func(age time.Duration) { s.mu.Lock(); defer s.mu.Unlock(); s.delivered = append(s.delivered, age) }
	o.Hooks.Sent = func(channel string, after, upto channels.Position, n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent = append(s.sent, sentCall{channel, after, upto, n})
	}
}

// reached is how many connections were told to have been sent an event.
func (s *seen) reached(channel string, p channels.Position) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sent {
		if c.channel == channel && c.after.Less(p) && !c.upto.Less(p) {
			n += c.connections
		}
	}
	return n
}

// until waits for what the hooks are told behind a write.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timeout: %s", what)
		}
	}
}

// Live events are timed when they have been written, on each path, and each
// event is told to have been sent to every connection once.
func TestHooksOfDelivery(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		var s seen
		f := newFixture(t, path, s.hooks)
		f.broker.publish("a", `{"type":"n","n":1}`)
		clients := []*caller{f.dial("", "a"), f.dial("", "a", "b"), f.dial("", "a")}
		for _, c := range clients {
			c.next()
		}
		second := f.broker.publish("a", `{"type":"n","n":2}`)
		for _, c := range clients {
			c.next()
		}
		until(t, "the event is sent to all", func() bool { return s.reached("a", second) == len(clients) })
		until(t, "a delivery is timed", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.delivered) > 0 })
		s.mu.Lock()
		for _, age := range s.delivered {
			if age > time.Minute {
				t.Errorf("an event of now is %v old", age)
			}
		}
		timed := len(s.delivered)
		s.mu.Unlock()

		// A replay is no live event, however old.
		back := f.dial(NewCursor("a", channels.Position{Millis: 1}), "a")
		for range 3 {
			back.next()
		}
		third := f.broker.publish("b", `{"type":"n","n":3}`)
		clients[1].next()
		until(t, "the other channel's event is sent", func() bool { return s.reached("b", third) == 1 })
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.delivered) > timed+1 {
			t.Errorf("timed %v", s.delivered[timed:])
		}
		if s.opened[false] != 3 || s.opened[true] != 1 {
			t.Errorf("opened %v", s.opened)
		}
	})
}
