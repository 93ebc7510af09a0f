package channels

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// begun is where streams stand in benchmarks: now, so that nothing is too old.
var begun = Position{Millis: uint64(time.Now().UnixMilli())}

// standing is a Broker whose streams are empty, for benchmarks of what happens
// to announcements.
type standing struct {
	Broker
	hub *Hub
}

func (standing) CheckChannel(string) error { return nil }
func (standing) Ready() bool               { return true }
func (standing) Unsubscribe(string, bool)  {}

func (b standing) Subscribe(channel string, _ bool) { go b.hub.Confirmed(channel) }

func (standing) Open(_ context.Context, channels []string) []Top {
	tops := make([]Top, len(channels))
	for i := range tops {
		tops[i].Position = begun
	}
	return tops
}

func (b standing) Renew(ctx context.Context, channels []string) []Top { return b.Open(ctx, channels) }

// follow returns a hub, and subscribers that have reached the log's end.
func follow(b *testing.B, subscribers int, channels ...string) (*Hub, []*Subscriber) {
	b.Helper()
	p, err := NewPolicies([]Policy{{Pattern: must(ParsePattern("**")), HistorySize: 1000}})
	if err != nil {
		b.Fatal(err)
	}
	broker := &standing{}
	hub := NewHub(Options{Broker: broker, Policies: p, Encode: encodePayload, CheckInterval: time.Hour})
	broker.hub = hub
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		hub.Run(ctx)
	}()
	b.Cleanup(func() { cancel(); <-ended })
	var requests []Request
	for _, c := range channels {
		requests = append(requests, Request{Channel: c})
	}
	shared := make(bell, 1)
	var subs []*Subscriber
	for range subscribers {
		s, err := hub.Subscribe(shared, requests)
		if err != nil {
			b.Fatal(err)
		}
		for !s.Begun(time.Now()) {
			<-shared
		}
		subs = append(subs, s)
	}
	return hub, subs
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// announcer announces events of 200 bytes on a channel, one after the other.
func announcer(hub *Hub, channel string) func() {
	prev, payload := begun, fmt.Sprintf("%0200d", 1)
	return func() {
		next := Position{Millis: prev.Millis, Seq: prev.Seq + 1}
		hub.Announced(channel, Event{Position: next, Prev: prev, Payload: payload})
		prev = next
	}
}

// From an announcement into the log, with one subscriber to be woken.
func BenchmarkAnnounced(b *testing.B) {
	hub, _ := follow(b, 1, "a")
	announce := announcer(hub, "a")
	b.ReportAllocs()
	for b.Loop() {
		announce()
	}
}

// What one event costs each of 1000 subscribers of its channel before the write.
func BenchmarkTake(b *testing.B) {
	hub, subs := follow(b, 1000, "a")
	announce, now := announcer(hub, "a"), time.Now()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s := subs[i%len(subs)]
		if i%len(subs) == 0 {
			b.StopTimer()
			announce()
			b.StartTimer()
		}
		if frames, events, _ := s.Take(now, 1<<16); events == 0 && s.more(now) || len(frames) > 1<<16 {
			b.Fatal("nothing was taken")
		}
	}
}

// more gets over what only Next can give, as at the beginning.
func (s *Subscriber) more(now time.Time) bool {
	list, err := s.Next(now, nil, 10, 1<<16)
	return err != nil || len(list) > 1
}

// The same with a connection of 20 channels, whose cursor is its own.
func BenchmarkNextOfMany(b *testing.B) {
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprint("c", i))
	}
	hub, subs := follow(b, 1, names...)
	announce, now, s := announcer(hub, "c7"), time.Now(), subs[0]
	var list []Delivery
	var cursor []byte
	b.ReportAllocs()
	for b.Loop() {
		announce()
		list, _ = s.NextOf(7, now, list[:0], 10, 1<<16)
		for i := range list {
			s.Advance(&list[i])
			cursor = s.AppendCursor(cursor[:0])
		}
	}
	if len(cursor) == 0 {
		b.Fatal("nothing was given")
	}
}
