package channels

import (
	"strconv"
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

// However many channels a client has, and however old its cursor is, it holds
// little of history at a time.
func TestOneClientHoldsFewPages(t *testing.T) {
	const channels = 40
	for name, start := range map[string]func(*Request){
		"resumes": func(r *Request) { r.Start.Resume = &Position{Millis: 1} },
		"lastN":   func(r *Request) { r.Start.LastN = 200 },
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, Policy{HistorySize: 1000}, func(t *testing.T, s *store, r *replica) {
				var requests []Request
				for i := range channels {
					request := Request{Channel: strconv.Itoa(i)}
					start(&request)
					requests = append(requests, request)
					s.publishNumbers(request.Channel, 1, 200)
				}
				c := r.connect(t, requests...)
				got := make([]int, channels)
				for left := 200 * channels; left > 0; {
					synctest.Wait()
					held := 0
					for _, sub := range c.sub.subs {
						if sub.page != nil {
							held++
						}
					}
					if held != c.sub.pages || held > maxPages {
						t.Fatalf("%d pages are held, %d are counted, allowed are %d", held, c.sub.pages, maxPages)
					}
					list, err := c.sub.Next(time.Now(), nil, 50, 1<<20)
					if err != nil || len(list) == 0 && c.sub.pages == 0 {
						t.Fatalf("%d are missing, and nothing is on its way: %v", left, err)
					}
					for _, d := range list {
						if d.Gap != nil {
							continue
						}
						left--
						if got[d.Channel]++; d.Entry.Encoded.payload() != strconv.Itoa(got[d.Channel]) {
							t.Fatalf("%s came on %d, want %d", d.Entry.Encoded.payload(), d.Channel, got[d.Channel])
						}
					}
				}
			})
		})
	}
}
