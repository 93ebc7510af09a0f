package sse

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"realtime-gateway/pkg/channels"
)

// loop owns a share of the connections: it alone reads their places, writes to
// their sockets and closes them.
type loop struct {
	h    *Handler
	poll *poller
	open atomic.Int64

	signal chan struct{} // holds one token while the inbox may have something

	mu    sync.Mutex
	in    inbox
	feeds map[string]*feed
	ended bool // no connection is taken any more

	kicked atomic.Int64 // when, by Unix nanoseconds

	// Guarded by own, which run holds but for when it waits, and Kick now and then.
	own    sync.Mutex
	taken  inbox
	slots  []*conn
	free   []uint32
	active []*feed               // with members whose turn is to come
	again  []*conn               // with more to write than one turn takes
	early  map[*conn]CloseReason // of connections that are to end before they arrive
	walked int                   // how far walk has come in slots
	turns  uint32                // counts the connections that had a slot
	begun  time.Time
	clock  int64     // milliseconds since begun
	now    time.Time // by which events age
	wall   int64     // Unix milliseconds
	sample int64     // when Hooks.Delivered was last called, by clock

	kickedFeeds             []*feed
	scratch                 []byte
	deliveries              []channels.Delivery
	junk                    [4 << 10]byte
	writes, events, written int
}

// inbox is what others have for the loop.
type inbox struct {
	feeds     []*feed
	conns     []*conn // woken
	arrivals  []*conn
	ends      []ending
	happened  []happening
	questions []func()
	tick      bool
}

type ending struct {
	conn   *conn
	reason CloseReason
}

// slice is how many members of a feed have their turn before the loop looks at
// what else there is: other channels must not wait for a large one. Of those
// with more to write than one turn takes, as many as write about as often.
const slice = 128

func newLoop(h *Handler) (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &loop{h: h, poll: p, signal: make(chan struct{}, 1), feeds: make(map[string]*feed), early: make(map[*conn]CloseReason),
		begun: time.Now(), sample: -sampleInterval.Milliseconds()}, nil
}

func (l *loop) wake() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// feed returns the feed of a channel, which the caller then has to release.
func (l *loop) feed(channel string) *feed {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.feeds[channel]
	if f == nil {
		f = &feed{loop: l, name: strings.Clone(channel)}
		l.feeds[f.name] = f
	}
	f.refs++
	return f
}

// forsake releases a connection's feeds.
func (l *loop) forsake(c *conn) {
	for i := range c.feeds {
		l.release(&c.feeds[i])
	}
}

// release gives up a place among a feed's members, unless it was.
func (l *loop) release(m *membership) {
	f := m.feed
	if f == nil {
		return
	}
	m.feed = nil
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.refs--; f.refs == 0 {
		delete(l.feeds, f.name)
	}
}

// attach gives the loop a connection of which nobody else has a reference.
func (l *loop) attach(c *conn) {
	l.mu.Lock()
	ended := l.ended
	if !ended {
		l.in.arrivals = append(l.in.arrivals, c)
	}
	l.mu.Unlock()
	if ended {
		c.sub.Close()
		l.forsake(c)
		_ = unix.Close(int(c.fd))
		c.holder.giveBack()
		l.h.remove(c)
		return
	}
	l.wake()
}

// run serves until ctx ends.
func (l *loop) run(ctx context.Context) {
	var helpers sync.WaitGroup
	helpers.Go(l.listen)
	interval := l.tickInterval()
	ticker := time.AfterFunc(interval, l.ticked)
	stopped := context.AfterFunc(ctx, l.wake)
	for ctx.Err() == nil {
		l.own.Lock()
		busy := l.busy()
		l.own.Unlock()
		if busy {
			runtime.Gosched() // with one processor, who reads from Redis waits for us
		} else {
			<-l.signal
		}
		l.own.Lock()
		tick := l.round()
		l.own.Unlock()
		if tick {
			ticker.Reset(interval)
		}
	}
	stopped()
	ticker.Stop()
	_ = l.poll.close()
	l.wake() // a listener that waits
	helpers.Wait()
	l.own.Lock()
	defer l.own.Unlock()
	l.mu.Lock()
	l.ended = true
	l.taken, l.in = l.in, inbox{}
	l.mu.Unlock()
	for _, c := range l.taken.arrivals {
		l.arrive(c)
	}
	for _, c := range l.slots {
		if c != nil {
			l.close(c, string(CloseDraining))
		}
	}
}

// busy tells whether there is more to do than waits in the inbox.
func (l *loop) busy() bool { return len(l.active) > 0 || len(l.again) > 0 }

// Sizes of what Kick does by itself.
const (
	kickSlice    = 8
	kickInterval = 100 * time.Microsecond
)

var _ channels.Kicker = (*loop)(nil)

// Kick implements channels.Kicker. Where events are rare it serves the first
// members of the woken feeds at once, on the goroutine that reads from Redis: to
// wake another thread for one write would cost several times as much as the
// write.
func (l *loop) Kick() {
	now := time.Now()
	if before := l.kicked.Swap(now.UnixNano()); now.UnixNano()-before < int64(kickInterval) || !l.own.TryLock() {
		l.wake()
		return
	}
	defer l.own.Unlock()
	l.mu.Lock()
	l.kickedFeeds, l.in.feeds = l.in.feeds, l.kickedFeeds[:0]
	l.mu.Unlock()
	l.read(now)
	l.woken(l.kickedFeeds)
	clear(l.kickedFeeds)
	l.sweep(kickSlice)
	l.account()
	if l.busy() {
		l.wake()
	}
}

// listen hands over what the poller tells.
func (l *loop) listen() {
	var list []happening
	for {
		var err error
		list, err = l.poll.wait(list[:0])
		l.mu.Lock()
		l.in.happened = append(l.in.happened, list...)
		l.mu.Unlock()
		if err != nil {
			return
		}
		l.wake()
	}
}

func (l *loop) ticked() {
	l.mu.Lock()
	l.in.tick = true
	l.mu.Unlock()
	l.wake()
}

// round does a share of what there is to do, and reports whether a tick was
// part of it.
func (l *loop) round() (tick bool) {
	l.mu.Lock()
	l.taken, l.in = l.in, l.taken.emptied()
	l.mu.Unlock()
	l.read(time.Now())
	for _, c := range l.taken.arrivals {
		l.arrive(c)
	}
	for _, e := range l.taken.ends {
		l.end(e.conn, e.reason)
	}
	for _, e := range l.taken.happened {
		l.happened(e)
	}
	for _, question := range l.taken.questions {
		question()
	}
	for _, c := range l.taken.conns {
		c.queued.Store(false)
		l.serve(c, -1)
	}
	l.woken(l.taken.feeds)
	for todo := min(len(l.again), slice/writesPerTurn); todo > 0; todo-- {
		c := l.again[0]
		l.again[0], l.again = nil, l.again[1:]
		c.again = false
		l.serve(c, -1)
	}
	if len(l.again) == 0 {
		l.again = nil
	}
	l.sweep(slice)
	if l.taken.tick {
		l.walk()
	}
	l.account()
	return l.taken.tick
}

// read notes what time it is.
func (l *loop) read(now time.Time) {
	l.clock, l.now, l.wall = now.Sub(l.begun).Milliseconds(), l.h.o.Hub.Now(), l.h.o.Now().UnixMilli()
}

// woken has the members of these feeds given their turn.
func (l *loop) woken(feeds []*feed) {
	for _, f := range feeds {
		f.queued.Store(false)
		f.left = len(f.members)
		if !f.active && f.left > 0 {
			f.active = true
			l.active = append(l.active, f)
		}
	}
}

// account tells what was written.
func (l *loop) account() {
	if hook := l.h.o.Hooks.Wrote; hook != nil && l.writes > 0 {
		hook(l.writes, l.events, l.written)
	}
	l.writes, l.events, l.written = 0, 0, 0
	if cap(l.scratch) > 2*maxWrite {
		l.scratch = nil
	}
}

// emptied returns the inbox' lists for new use, unless a storm has made them
// large.
func (in *inbox) emptied() inbox {
	const most = 4096
	if cap(in.feeds)+cap(in.conns)+cap(in.arrivals)+cap(in.happened)+cap(in.ends) > most {
		return inbox{}
	}
	clear(in.feeds)
	clear(in.conns)
	clear(in.arrivals)
	clear(in.ends)
	return inbox{feeds: in.feeds[:0], conns: in.conns[:0], arrivals: in.arrivals[:0], ends: in.ends[:0], happened: in.happened[:0]}
}

// sweep gives so many members of the woken feeds their turn, the feeds in
// rotation.
func (l *loop) sweep(todo int) {
	var last member // that was given events
	for todo > 0 && len(l.active) > 0 {
		f := l.active[0]
		l.active = l.active[1:]
		n := min(f.left, todo)
		todo -= max(n, 1)
		for ; n > 0 && f.left > 0; n-- {
			f.left--
			if f.next >= len(f.members) {
				f.next = 0
			}
			m := f.members[f.next]
			f.next++
			events := l.events
			if l.serve(m.conn, int(m.channel)); l.events > events {
				f.given, last = m, m
			}
		}
		if f.left == 0 {
			l.sent(f)
		}
		if f.active = f.left > 0; f.active {
			l.active = append(l.active, f)
		}
	}
	if len(l.active) == 0 {
		l.active = nil
	}
	if last.conn != nil {
		l.delivered(last)
	}
}

// ticksPerWalk is in how many ticks all connections are looked at.
const ticksPerWalk = 4

// tickInterval makes a walk take a twentieth of the heartbeat, so that neither
// comes much too late.
func (l *loop) tickInterval() time.Duration {
	return min(max(l.h.o.Heartbeat/20/ticksPerWalk, time.Millisecond), 250*time.Millisecond)
}

// walk looks at the next part of the connections for what time does to them.
func (l *loop) walk() {
	todo := (len(l.slots) + ticksPerWalk - 1) / ticksPerWalk
	if l.walked >= len(l.slots) {
		l.walked = 0
	}
	end := min(l.walked+todo, len(l.slots))
	for _, c := range l.slots[l.walked:end] {
		if c != nil {
			l.aged(c)
		}
	}
	l.walked = end
}
