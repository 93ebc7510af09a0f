package sse

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

// memory is a channels.Broker whose Redis is a map. Channels that begin with
// "status:" have no history.
type memory struct {
	hub *channels.Hub

	mu      sync.Mutex
	streams map[string][]channels.Event
	tops    map[string]channels.Position
	down    bool
	held    bool  // subscriptions are not confirmed
	err     error // of every read
}

var errRefused = context.DeadlineExceeded // any error will do

func (b *memory) CheckChannel(string) error { return nil }
func (b *memory) Unsubscribe(string, bool)  {}
func (b *memory) set(change func())         { b.mu.Lock(); defer b.mu.Unlock(); change() }
func (b *memory) topLocked(c string) (p channels.Position) {
	if p = b.tops[c]; p.IsZero() {
		p = next(p)
		b.tops[c] = p
	}
	return p
}

// next returns a position for now, above p.
func next(p channels.Position) channels.Position {
	now := channels.Position{Millis: uint64(time.Now().UnixMilli())}
	if p.Less(now) {
		return now
	}
	return channels.Position{Millis: p.Millis, Seq: p.Seq + 1}
}

func (b *memory) Subscribe(channel string, _ bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.held {
		go b.hub.Confirmed(channel)
	}
}

func (b *memory) Ready() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.down
}

func (b *memory) Open(_ context.Context, names []string) []channels.Top {
	b.mu.Lock()
	defer b.mu.Unlock()
	tops := make([]channels.Top, len(names))
	for i, name := range names {
		tops[i].Position = b.topLocked(name)
	}
	return tops
}

func (b *memory) Renew(ctx context.Context, names []string) []channels.Top { return b.Open(ctx, names) }

func (b *memory) Tops(ctx context.Context, names []string) []channels.Top { return b.Open(ctx, names) }

func (b *memory) Verify(context.Context) error { return nil }

func (b *memory) Tails(_ context.Context, requests []channels.TailRequest) []channels.Tail {
	b.mu.Lock()
	defer b.mu.Unlock()
	tails := make([]channels.Tail, len(requests))
	for i, r := range requests {
		tails[i].Err = b.err
		for _, e := range b.streams[r.Channel] {
			if !e.Position.Less(r.From) && len(tails[i].Events) < r.Limit {
				tails[i].Events = append(tails[i].Events, e)
			}
		}
	}
	return tails
}

func (b *memory) MarkLost(context.Context, string, channels.Loss, time.Duration) (bool, error) {
	return false, nil
}

func (b *memory) Read(_ context.Context, channel string, after channels.Position, limit int) (list []channels.Event, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.streams[channel] {
		if after.Less(e.Position) && len(list) < limit {
			list = append(list, e)
		}
	}
	return list, b.err
}

func (b *memory) Newest(_ context.Context, channel string, limit int) ([]channels.Event, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.streams[channel]
	return append([]channels.Event(nil), all[max(0, len(all)-limit):]...), b.err
}

// publish appends an event and announces it.
func (b *memory) publish(channel, payload string) channels.Position {
	b.mu.Lock()
	e := channels.Event{Payload: payload}
	if strings.HasPrefix(channel, "status:") {
		e.Position = next(channels.Position{})
	} else {
		e.Prev = b.topLocked(channel)
		e.Position = next(e.Prev)
		b.tops[channel] = e.Position
		b.streams[channel] = append(b.streams[channel], e)
	}
	b.mu.Unlock()
	b.hub.Announced(channel, e)
	return e.Position
}

// fixture is a handler over a hub over memory, until the test ends.
type fixture struct {
	t       *testing.T
	broker  *memory
	handler *Handler
	closed  chan string // the reasons of closed streams
	refused chan CloseReason
	session atomic.Pointer[func(*Session)] // changes what is asked for, if not nil
	addr    string                         // where it is served over TCP
	stop    func()                         // ends the hub and the loops
}

func newFixture(t *testing.T, change ...func(*Options)) *fixture {
	t.Helper()
	pattern := func(s string) channels.Pattern {
		p, err := channels.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	policies, err := channels.NewPolicies([]channels.Policy{
		{Pattern: pattern("status:**")},
		{Pattern: pattern("strict:**"), HistorySize: 10_000, BufferSize: 4, OnFull: channels.Disconnect},
		{Pattern: pattern("**"), HistorySize: 10_000},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{
		t: t, closed: make(chan string, 1000), refused: make(chan CloseReason, 1000),
		broker: &memory{streams: make(map[string][]channels.Event), tops: make(map[string]channels.Position)},
	}
	f.broker.hub = channels.NewHub(channels.Options{Broker: f.broker, Policies: policies, Encode: EncodeEvent})
	o := Options{Hub: f.broker.hub, Replica: "r1", Hooks: Hooks{
		Closed:  func(reason string, _ time.Duration) { f.closed <- reason },
		Refused: func(reason CloseReason) { f.refused <- reason },
	}}
	for _, c := range change {
		c(&o)
	}
	if f.handler, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.broker.hub.Run(ctx) })
	running.Go(func() { f.handler.Run(ctx) })
	f.stop = func() { cancel(); running.Wait() }
	t.Cleanup(f.stop)
	return f
}

// session asks for channels from a cursor on.
func session(t *testing.T, cursor string, names ...string) Session {
	t.Helper()
	c, err := channels.ParseCursor(cursor)
	if err != nil {
		t.Fatal(err)
	}
	var s Session
	for _, name := range names {
		r := channels.Request{Channel: name}
		if p, ok := c.Position(name); ok {
			r.Start.Resume = &p
		}
		s.Requests = append(s.Requests, r)
	}
	return s
}
