package channels

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// store is the Redis of these tests: streams, and who listens to them.
type store struct {
	mu      sync.Mutex
	streams map[string]*stream
	brokers []*memory
	size    int           // as historySize
	ttl     time.Duration // as historyTTL
	skew    time.Duration // how far its clock is ahead of the replicas'
	reads   int           // how often anything was read
	hold    moment        // when calls are held
	held    []chan struct{}
}

// moment is when a call is held until the test lets it go on.
type moment int

const (
	never   moment = iota
	looking        // before it looks at the store
	telling        // when it has looked, and before it is answered
)

type stream struct {
	entries []Event
	top     Position
}

func newStore(size int, ttl time.Duration) *store {
	return &store{streams: make(map[string]*stream), size: size, ttl: ttl}
}

func (s *store) stream(channel string) *stream {
	if s.streams[channel] == nil {
		s.streams[channel] = &stream{}
	}
	return s.streams[channel]
}

// now is the store's time.
func (s *store) now() time.Time { return time.Now().Add(s.skew) }

// top returns a stream's last position.
func (s *store) top(channel string) Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream(channel).top
}

// entries returns a copy of a stream.
func (s *store) entries(channel string) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.stream(channel).entries)
}

// after returns a position for now, above p.
func (s *store) after(p Position) Position {
	now := Position{Millis: uint64(s.now().UnixMilli())}
	if !p.Less(now) {
		now = Position{p.Millis, p.Seq + 1}
	}
	return now
}

// publish appends an event and announces it to every broker that is not deaf.
func (s *store) publish(channel, payload string, change ...func(*Event)) Position {
	s.mu.Lock()
	st := s.stream(channel)
	e := Event{Position: s.after(st.top), Prev: st.top, Payload: payload}
	for _, c := range change {
		c(&e)
	}
	st.top = e.Position
	st.entries = append(st.entries, e)
	s.trimLocked(st)
	s.mu.Unlock()
	s.announce(channel, e)
	return e.Position
}

func (s *store) announce(channel string, e Event) {
	for _, b := range s.hearing(channel) {
		if s.isLate(b, channel, e) {
			continue
		}
		s.heard(b, channel, e)
	}
}

// heard hands an announcement over. That of the newest event shows all that was
// missed before it.
func (s *store) heard(b *memory, channel string, e Event) {
	s.mu.Lock()
	if list := s.stream(channel).entries; len(list) > 0 {
		if last := list[len(list)-1]; last.Position == e.Position && last.Payload == e.Payload {
			delete(b.missed, channel)
		}
	}
	s.mu.Unlock()
	b.hub.Announced(channel, e)
}

// lostLocked notes that nobody has heard of a loss.
func (s *store) lostLocked(channel string) {
	for _, b := range s.brokers {
		b.missed[channel] = true
	}
}

// announcement is one that is still on its way.
type announcement struct {
	channel string
	event   Event
}

// isLate keeps the announcement back where the broker's next one is to be late.
func (s *store) isLate(b *memory, channel string, e Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.delay == 0 {
		return false
	}
	b.delay--
	b.late = append(b.late, announcement{channel, e})
	b.missed[channel] = true
	return true
}

// hearing returns who hears the next announcement.
func (s *store) hearing(channel string) []*memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*memory
	for _, b := range s.brokers {
		if b.hears(channel) {
			list = append(list, b)
		}
	}
	return list
}

func (s *store) trimLocked(st *stream) {
	if n := len(st.entries) - s.size; n > 0 {
		st.entries = st.entries[n:]
	}
	oldest := uint64(time.Now().Add(-s.ttl).UnixMilli())
	for s.ttl > 0 && len(st.entries) > 0 && st.entries[0].Position.Millis < oldest {
		st.entries = st.entries[1:]
	}
}

// lose removes the newest n events, as a failover to a replica behind does.
func (s *store) lose(channel string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stream(channel)
	s.lostLocked(channel)
	for ; n > 0 && len(st.entries) > 0; n-- {
		last := len(st.entries) - 1
		st.top = st.entries[last].Prev
		st.entries = st.entries[:last:last]
	}
}

// trim leaves the newest n events.
func (s *store) trim(channel string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stream(channel)
	st.entries = st.entries[max(0, len(st.entries)-n):]
}

// flush removes everything, as FLUSHALL does.
func (s *store) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for channel := range s.streams {
		s.lostLocked(channel)
	}
	clear(s.streams)
}

// pause holds a call, if calls are held at this moment.
func (s *store) pause(ctx context.Context, at moment) {
	s.mu.Lock()
	if s.hold != at {
		s.mu.Unlock()
		return
	}
	gate := make(chan struct{})
	s.held = append(s.held, gate)
	s.mu.Unlock()
	select {
	case <-gate:
	case <-ctx.Done():
	}
}

// release lets the call go on that has been held for longest.
func (s *store) release() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) == 0 {
		return false
	}
	close(s.held[0])
	s.held = s.held[1:]
	return true
}

func (s *store) readCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

// memory is a Broker over a store, with faults.
type memory struct {
	verified   int   // how often Verify was asked
	unverified error // what it answers
	store      *store
	hub        *Hub

	// Guarded by store.mu.
	wanted     map[string]bool
	confirmed  map[string]bool
	down       bool            // the connection to Redis is gone
	drop       int             // so many announcements are lost without anyone's noticing
	delay      int             // so many announcements are kept in late
	missed     map[string]bool // channels of which something happened that it cannot know of yet
	unchecked  bool            // the hub is kept from checking
	late       []announcement
	unhurried  bool // subscriptions are confirmed by the test
	unconfirms int
	err        error // of every call
	unmarkable bool  // streams take no record of a loss
}

func (s *store) broker() *memory {
	b := &memory{store: s, wanted: make(map[string]bool), confirmed: make(map[string]bool), missed: make(map[string]bool)}
	s.brokers = append(s.brokers, b)
	return b
}

func (b *memory) hears(channel string) bool {
	if b.down || !b.confirmed[channel] {
		return false
	}
	if b.drop > 0 {
		b.drop--
		b.missed[channel] = true
		return false
	}
	return true
}

func (b *memory) Subscribe(channel string, _ bool) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.wanted[channel] = true
	if !b.down && !b.unhurried {
		go b.confirm(channel)
	}
}

func (b *memory) confirm(channel string) {
	b.store.mu.Lock()
	standing := b.wanted[channel] && !b.down
	b.confirmed[channel] = standing
	if standing {
		delete(b.missed, channel) // everything is read again
	}
	b.store.mu.Unlock()
	if standing {
		b.hub.Confirmed(channel)
	}
}

func (b *memory) Unsubscribe(channel string, _ bool) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	delete(b.wanted, channel)
	delete(b.confirmed, channel)
	b.unconfirms++
}

func (b *memory) CheckChannel(string) error { return nil }

func (b *memory) Ready() bool {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	return !b.down && !b.unchecked
}

// setDown cuts or restores the connection to Redis.
func (b *memory) setDown(down bool) {
	if down {
		b.cut()
		return
	}
	b.restore()
	b.confirmAll()
}

func (b *memory) cut() {
	b.store.mu.Lock()
	b.down = true
	list := slices.Sorted(maps.Keys(b.wanted))
	clear(b.confirmed)
	b.store.mu.Unlock()
	b.hub.Deaf(list)
}

// restore lets calls through again; no subscription stands yet.
func (b *memory) restore() {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.down, b.unhurried = false, true
}

func (b *memory) confirmAll() {
	b.store.mu.Lock()
	b.unhurried = false
	list := slices.Sorted(maps.Keys(b.wanted))
	b.store.mu.Unlock()
	for _, c := range list {
		b.confirm(c)
	}
}

var errDown = errors.New("redis is away")

// ask runs one call, or a part of one.
func (b *memory) ask(_ context.Context, what func() error) error {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.reads++
	switch {
	case b.down:
		return errDown
	case b.err != nil:
		return b.err
	}
	return what()
}

// read waits while Redis is away, as the real broker does.
func (b *memory) read(ctx context.Context, what func() error) error {
	for {
		if err := b.ask(ctx, what); err != errDown {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *memory) Open(ctx context.Context, names []string) []Top {
	return b.each(ctx, names, func(name string) Position {
		st := b.store.stream(name)
		if st.top.IsZero() {
			st.top = b.store.after(Position{})
		}
		b.store.trimLocked(st)
		return st.top
	})
}

func (b *memory) Renew(ctx context.Context, names []string) []Top {
	return b.each(ctx, names, func(name string) Position {
		st := b.store.stream(name)
		b.store.trimLocked(st)
		return st.top
	})
}

func (b *memory) Tops(ctx context.Context, names []string) []Top {
	return b.each(ctx, names, func(name string) Position { return b.store.stream(name).top })
}

func (b *memory) each(ctx context.Context, names []string, top func(string) Position) []Top {
	b.store.pause(ctx, looking)
	defer b.store.pause(ctx, telling)
	tops := make([]Top, len(names))
	for i, name := range names {
		tops[i].Err = b.ask(ctx, func() error {
			tops[i].Position = top(name)
			return nil
		})
	}
	return tops
}

func (b *memory) Verify(context.Context) error {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.verified++
	return b.unverified
}

func (b *memory) Tails(ctx context.Context, requests []TailRequest) []Tail {
	b.store.pause(ctx, looking)
	defer b.store.pause(ctx, telling)
	tails := make([]Tail, len(requests))
	for i, r := range requests {
		tails[i].Err = b.ask(ctx, func() error {
			for _, e := range b.store.stream(r.Channel).entries {
				if !e.Position.Less(r.From) && len(tails[i].Events) < r.Limit {
					tails[i].Events = append(tails[i].Events, e)
				}
			}
			return nil
		})
	}
	return tails
}

func (b *memory) MarkLost(ctx context.Context, channel string, lost Loss, younger time.Duration) (marked bool, err error) {
	b.store.pause(ctx, looking)
	defer b.store.pause(ctx, telling)
	var mark Event
	err = b.ask(ctx, func() error {
		if b.unmarkable {
			return nil
		}
		marked = true
		st := b.store.stream(channel)
		since := Position{Millis: uint64(b.store.now().Add(-younger).UnixMilli())}
		for _, e := range st.entries {
			if younger > 0 && !e.Position.Less(since) && !lost.After.Less(e.Position) {
				lost.After = e.Prev
				break
			}
		}
		for _, e := range st.entries {
			if e.Lost != nil && lost.Upto.Less(e.Position) && !e.Lost.Upto.Less(lost.Upto) && !lost.After.Less(e.Lost.After) {
				return nil
			}
		}
		for _, e := range st.entries {
			if e.Position == lost.Upto && !lost.After.IsZero() {
				marked = false
				return nil
			}
		}
		mark = Event{Position: b.store.after(highest(st.top, lost.Upto)), Prev: st.top, Lost: &lost}
		st.top = mark.Position
		st.entries = append(st.entries, mark)
		b.store.trimLocked(st)
		return nil
	})
	if mark.Lost != nil {
		b.store.announce(channel, mark)
	}
	return marked, err
}

func (b *memory) Read(ctx context.Context, channel string, after Position, limit int) (list []Event, err error) {
	b.store.pause(ctx, looking)
	defer b.store.pause(ctx, telling)
	err = b.read(ctx, func() error {
		for _, e := range b.store.stream(channel).entries {
			if after.Less(e.Position) && len(list) < limit {
				list = append(list, e)
			}
		}
		return nil
	})
	return list, err
}

func (b *memory) Newest(ctx context.Context, channel string, limit int) (list []Event, err error) {
	b.store.pause(ctx, looking)
	defer b.store.pause(ctx, telling)
	err = b.read(ctx, func() error {
		entries := b.store.stream(channel).entries
		list = slices.Clone(entries[max(0, len(entries)-limit):])
		return nil
	})
	return list, err
}

// payload is the event's, where a test's encoder made the bytes.
func (e *Encoded) payload() string { return string(e.Frame[:e.Body]) }

// encodePayload stands for package sse: the frame is the payload.
func encodePayload(_ string, e *Event) Encoded {
	return Encoded{Frame: []byte(e.Payload), Body: len(e.Payload), To: len(e.Payload)}
}

// replica is a hub over the store, running until the test ends.
type replica struct {
	*memory
	hub  *Hub
	stop func()
}

func (s *store) replica(t *testing.T, policies Policies, change ...func(*Options)) *replica {
	t.Helper()
	b := s.broker()
	o := Options{Broker: b, Policies: policies, Encode: encodePayload, CheckInterval: time.Second}
	for _, c := range change {
		c(&o)
	}
	b.hub = NewHub(o)
	b.hub.renewal = 1500 * time.Millisecond // every other check, so that a test need not last
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.hub.Run(ctx)
	}()
	r := &replica{memory: b, hub: b.hub, stop: func() { cancel(); <-ended }}
	t.Cleanup(r.stop)
	return r
}

// bell is a Waker that a test can wait for.
type bell chan struct{}

func (b bell) Wake() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// client is one subscriber, and what it was given.
type client struct {
	t    *testing.T
	sub  *Subscriber
	bell bell
}

func (r *replica) connect(t *testing.T, requests ...Request) *client {
	t.Helper()
	c := &client{t: t, bell: make(bell, 1)}
	var err error
	if c.sub, err = r.hub.Subscribe(c.bell, requests); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	for !c.sub.Begun(time.Now()) {
		c.wait("the channels to be joined")
	}
	return c
}

// resume connects with the position of each channel in a cursor.
func (r *replica) resume(t *testing.T, cursor string, names ...string) *client {
	t.Helper()
	parsed, err := ParseCursor(cursor)
	if err != nil {
		t.Fatalf("cursor: %v", err)
	}
	var requests []Request
	for _, name := range names {
		request := Request{Channel: name}
		if p, ok := parsed.Position(name); ok {
			request.Start.Resume = &p
		}
		requests = append(requests, request)
	}
	return r.connect(t, requests...)
}

func (c *client) wait(what string) {
	c.t.Helper()
	select {
	case <-c.bell:
	case <-time.After(time.Minute):
		c.t.Fatalf("waited in vain for %s", what)
	}
}

// take fetches until there were at least n deliveries, as text: an event's
// payload, or "gap reason(count)".
func (c *client) take(n int) []string {
	c.t.Helper()
	var got []string
	for {
		got = append(got, c.now()...)
		if len(got) >= n {
			return got
		}
		c.wait(fmt.Sprintf("delivery %d of %d, after %v", len(got)+1, n, got))
	}
}

// now fetches what is there.
func (c *client) now() []string {
	c.t.Helper()
	deliveries, err := c.sub.Next(time.Now(), nil, 1000, 1<<20)
	if err != nil {
		c.t.Fatalf("next: %v", err)
	}
	return c.texts(deliveries)
}

func (c *client) texts(deliveries []Delivery) []string {
	var got []string
	for i := range deliveries {
		d := &deliveries[i]
		c.sub.Advance(d)
		if d.Gap != nil {
			got = append(got, fmt.Sprintf("gap %s(%d)", d.Gap.Reason, d.Gap.Count))
		} else {
			got = append(got, d.Entry.Encoded.payload())
		}
	}
	return got
}

func (c *client) cursor() string { return string(c.sub.AppendCursor(nil)) }

func (c *client) want(want ...string) {
	c.t.Helper()
	if got := c.take(len(want)); !slices.Equal(got, want) {
		c.t.Fatalf("got %v, want %v", got, want)
	}
}

func policies(t *testing.T, list ...Policy) Policies {
	t.Helper()
	for i := range list {
		if list[i].Pattern.String() == "" {
			list[i].Pattern = pattern(t, "**")
		}
	}
	ps, err := NewPolicies(list)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func pattern(t *testing.T, s string) Pattern {
	t.Helper()
	p, err := ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
