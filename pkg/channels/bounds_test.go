package channels

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// However large events are, a subscriber is given about as many bytes as it
// asks for, and keeps no more than a page of about pageBytes besides.
func TestWhatASlowSubscriberHoldsIsBounded(t *testing.T) {
	const size, events, room = 20 << 10, 3000, 64 << 10
	p := Policy{HistorySize: events, BufferSize: 8, OnFull: CatchUp}
	scenario(t, p, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		c.now()
		payload := strings.Repeat("x", size)
		for range events {
			s.publish("a", payload)
		}
		synctest.Wait()
		for got, idle := 0, 0; got < events; {
			deliveries, err := c.sub.Next(time.Now(), nil, events, room)
			if err != nil {
				t.Fatal(err)
			}
			if idle++; len(deliveries) > 0 {
				idle = 0
			} else if idle > 3 {
				t.Fatalf("only %d of %d events came", got, events)
			}
			if n := len(deliveries) * size; n > room+size {
				t.Fatalf("%d bytes at once, want %d", n, room)
			}
			sub := c.sub.subs[0]
			sub.topic.mu.Lock()
			if sub.page != nil {
				if held := len(sub.page.entries) * size; held > pageBytes+size {
					t.Fatalf("a page of %d bytes, want %d", held, pageBytes)
				}
			}
			if sub.topic.log.bytes > maxLogBytes {
				t.Fatalf("a log of %d bytes, want %d at most", sub.topic.log.bytes, maxLogBytes)
			}
			sub.topic.mu.Unlock()
			got += len(deliveries)
			synctest.Wait()
		}
	})
}
