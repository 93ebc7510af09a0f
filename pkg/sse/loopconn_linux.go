package sse

import (
	"encoding/base32"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"realtime-gateway/pkg/channels"
)

// conn is a connection of a loop: a cursor into the logs, and where it goes.
// Owned by the loop but for what Wake and end use.
type conn struct {
	loop   *loop
	queued atomic.Bool // waits in the loop's inbox
	again  bool        // is in loop.again
	state  connState
	full   bool // the socket takes no more for now
	alarm  bool // a timer has been set for its expiry

	heartbeatEvents bool
	resumed         bool // went on after a cursor

	fd     int32
	slot   uint32
	turn   uint32 // of the slot: what happened to who had it before is none of ours
	heard  uint32 // bytes that the client sent after its request
	sub    *channels.Subscriber
	feeds  []membership
	single [1]membership // of feeds, where there is one
	held   *held         // nil while nothing is held back

	id      [16]byte // random
	holder  *Holder
	opened  int64 // Unix milliseconds, 0 for a stream that never began
	expires int64 // likewise, 0 for never
	quiet   int64 // since when nothing was written, by the loop's clock
	stuck   int64 // since when it is full, likewise
}

// held is what a connection has to keep for a while.
type held struct {
	head    []byte              // of the response, until it is written
	rest    []byte              // composed or taken, and not written yet
	pending []channels.Delivery // fetched, and not composed yet
	reason  CloseReason         // why it ends, from then on
}

// hold returns what the connection holds, to add to it.
func (c *conn) hold() *held {
	if c.held == nil {
		c.held = &held{}
	}
	return c.held
}

type connState uint8

const (
	arriving connState = iota // the loop has not seen it yet
	joining                   // its channels are not joined yet
	opened
	leaving // the last bytes are on their way
	closed
)

const (
	// maxFrames is about how many bytes one write of shared frames carries.
	maxFrames = 64 << 10
	// maxComposed likewise, of bytes that are the connection's own: what is left
	// of them it holds until its socket takes them.
	maxComposed = 32 << 10
	// writesPerTurn is how often a connection is written to before others are.
	writesPerTurn = 4
	// maxHeard is how many bytes a client may send after its request, of which
	// nothing is expected.
	maxHeard = 64 << 10
)

// Wake implements channels.Waker.
func (c *conn) Wake() {
	if c.queued.Swap(true) {
		return
	}
	c.loop.mu.Lock()
	c.loop.in.conns = append(c.loop.in.conns, c)
	c.loop.mu.Unlock()
	c.loop.wake()
}

// end asks the stream to end.
func (c *conn) end(reason CloseReason) {
	c.loop.mu.Lock()
	c.loop.in.ends = append(c.loop.in.ends, ending{c, reason})
	c.loop.mu.Unlock()
	c.loop.wake()
}

// name is what the connection is called, as rand.Text would: it is rarely said,
// and kept short.
func (c *conn) name() string { return connName.EncodeToString(c.id[:]) }

var connName = base32.StdEncoding.WithPadding(base32.NoPadding)

func (c *conn) tag() uint64 { return uint64(c.slot) | uint64(c.turn)<<32 }

// arrive gives a connection its slot and begins its stream.
func (l *loop) arrive(c *conn) {
	if n := len(l.free); n > 0 {
		c.slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		c.slot = uint32(len(l.slots))
		l.slots = append(l.slots, nil)
	}
	l.open.Add(1)
	l.slots[c.slot] = c
	l.turns++
	c.turn = l.turns
	c.quiet, c.stuck, c.state = l.clock, l.clock, joining
	for i, m := range c.feeds {
		m.feed.join(c, i)
	}
	if err := l.poll.add(int(c.fd), c.tag()); err != nil {
		l.close(c, endedByWrite)
		return
	}
	if reason, ok := l.early[c]; ok {
		delete(l.early, c)
		l.end(c, reason)
		return
	}
	l.serve(c, -1)
}

// serve gives a connection what there is for it, from one of its channels or,
// below zero, from all.
func (l *loop) serve(c *conn, channel int) {
	if c.holder.hasOrders() && !l.obey(c) {
		return
	}
	switch c.state {
	case joining:
		if c.sub.Begun(l.now) {
			l.start(c)
		}
	case opened:
		if c.expires != 0 && c.expires <= l.wall {
			l.bye(c, CloseTokenExpired)
		} else if !c.full {
			l.deliver(c, channel)
		}
	}
}

// obey takes rights from a connection, and reports whether it goes on.
func (l *loop) obey(c *conn) bool {
	if c.state != joining && c.state != opened {
		return false
	}
	v := l.judge(c)
	switch {
	case len(v.notices) == 0:
	case c.state == joining || c.full:
		h := c.hold()
		h.rest = append(h.rest, v.notices...)
	case !l.write(c, v.notices, true) && c.state == closed:
		return false
	}
	if v.end != nil {
		l.part(c, v.end.reason, v.end.text)
		return false
	}
	return true
}

// judge has orders carried out on the connection's subscriptions. What is in
// the verdict is left to the caller.
func (l *loop) judge(c *conn) verdict {
	v := c.holder.obey(c.sub)
	for i := range c.feeds {
		if m := &c.feeds[i]; m.feed != nil && c.sub.Dropped(i) {
			m.feed.leave(m.at)
			l.release(m)
		}
	}
	return v
}

// start writes the head and the first event, with what is ready already.
func (l *loop) start(c *conn) {
	c.state = opened
	if hook := l.h.o.Hooks.Opened; hook != nil {
		hook(c.resumed)
	}
	before := c.held
	c.held = nil
	l.scratch = append(l.scratch[:0], before.head...)
	l.scratch = appendOpen(l.scratch, c.sub, open{Connection: c.name(), Replica: l.h.o.Replica, Heartbeat: l.h.o.Heartbeat.Milliseconds()}, retryDelay())
	l.scratch = append(l.scratch, before.rest...) // what was lost meanwhile
	if c.expires != 0 && c.expires <= l.wall {    // meanwhile
		l.write(c, l.scratch, false)
		l.bye(c, CloseTokenExpired)
		return
	}
	if l.compose(c, -1) {
		l.deliver(c, -1)
	}
	l.setAlarm(c)
}

// deliver writes until nothing is ready or the socket is full.
func (l *loop) deliver(c *conn, channel int) {
	for range writesPerTurn {
		if c.held == nil && c.sub.Shared() {
			frames, events, more := c.sub.Take(l.now, maxFrames)
			// Asked behind Take: what came after an order is not sent.
			if c.holder.hasOrders() && !l.obey(c) {
				return
			}
			if events > 0 {
				l.events += events
				if !l.write(c, frames, true) || !more {
					return
				}
				continue
			}
			if !more {
				return
			}
		}
		l.scratch = l.scratch[:0]
		if !l.compose(c, channel) {
			return
		}
	}
	if !c.again {
		c.again = true
		l.again = append(l.again, c)
	}
}

// compose adds what is ready to what is in scratch and writes it. It reports
// whether there may be more.
func (l *loop) compose(c *conn, channel int) (more bool) {
	var err error
	var list []channels.Delivery
	if c.held != nil {
		list = c.held.pending
	}
	if more = len(list) > 0; !more {
		if channel < 0 {
			list, err = c.sub.Next(l.now, l.deliveries[:0], batch, maxComposed)
		} else {
			list, err = c.sub.NextOf(channel, l.now, l.deliveries[:0], batch, maxComposed)
		}
		l.deliveries = list
		more = len(list) >= batch
	}
	if c.holder.hasOrders() { // asked behind Next, as above
		v := l.judge(c)
		l.scratch = append(l.scratch, v.notices...)
		if v.end != nil {
			clear(l.deliveries)
			if len(l.scratch) == 0 || l.write(c, l.scratch, false) || c.state != closed {
				l.part(c, v.end.reason, v.end.text)
			}
			return false
		}
	}
	n := 0
	for n < len(list) && len(l.scratch) < maxComposed {
		if d := &list[n]; !c.sub.Dropped(d.Channel) {
			l.scratch = appendDelivery(l.scratch, c.sub, d)
			l.events++
		}
		n++
	}
	more = more || n < len(list) || len(l.scratch) >= maxComposed/2
	switch rest := list[n:]; {
	case len(rest) == 0:
		c.held = nil
	case c.held != nil:
		c.held.pending = rest
	default:
		c.hold().pending = slices.Clone(rest)
	}
	clear(l.deliveries) // or they keep the events
	wrote := len(l.scratch) == 0 || l.write(c, l.scratch, false)
	if errors.Is(err, channels.ErrSlow) && c.state == opened {
		l.bye(c, CloseSlow)
		return false
	}
	return wrote && more
}

// write sends bytes, or keeps what the socket does not take; shared ones as
// they are, others as a copy. It reports whether all was taken.
func (l *loop) write(c *conn, data []byte, shared bool) bool {
	n, full, err := write(int(c.fd), data)
	if err != nil {
		l.close(c, endedByWrite)
		return false
	}
	l.writes++
	l.written += n
	c.quiet = l.clock
	if !full {
		return true
	}
	if c.full, c.stuck = true, l.clock; shared {
		c.hold().rest = data[n:len(data):len(data)]
	} else {
		c.hold().rest = slices.Clone(data[n:])
	}
	return false
}

// happened takes what the poller told.
func (l *loop) happened(e happening) {
	slot := uint32(e.tag)
	if int(slot) >= len(l.slots) {
		return
	}
	c := l.slots[slot]
	if c == nil || c.tag() != e.tag {
		return
	}
	if e.events&(unix.EPOLLERR|unix.EPOLLHUP|unix.EPOLLRDHUP) != 0 || e.events&unix.EPOLLIN != 0 && !l.drain(c) {
		l.close(c, endedByClient)
		return
	}
	if e.events&unix.EPOLLOUT != 0 && c.full {
		l.resume(c)
	}
}

// drain throws away what a client sends after its request, and reports whether
// it still is there and keeps within bounds.
func (l *loop) drain(c *conn) bool {
	for {
		n, err := unix.Read(int(c.fd), l.junk[:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return true
		case err != nil || n == 0:
			return false
		default:
			if c.heard += uint32(n); c.heard > maxHeard {
				return false
			}
		}
	}
}

// resume goes on writing to a socket that was full.
func (l *loop) resume(c *conn) {
	since, rest := c.stuck, c.held.rest
	c.full, c.held.rest = false, nil
	if !l.write(c, rest, true) {
		c.stuck = since // the whole of it has to go out in time
		return
	}
	if c.state == leaving {
		l.close(c, string(c.held.reason))
		return
	}
	if len(c.held.pending) == 0 {
		c.held = nil
	}
	l.serve(c, -1)
}

// end ends a stream for a reason from outside.
func (l *loop) end(c *conn, reason CloseReason) {
	switch c.state {
	case arriving:
		l.early[c] = reason // it still belongs to its request
	case opened:
		c.sub.Finish()
		if !c.full {
			l.deliver(c, -1) // what came before the end is still delivered
		}
		l.bye(c, reason)
	case joining:
		l.bye(c, reason)
	}
}

// bye says why the stream ends, and ends it once that is written.
func (l *loop) bye(c *conn, reason CloseReason) { l.part(c, reason, "") }

// part is bye with a text for the client in place of the reason.
func (l *loop) part(c *conn, reason CloseReason, text string) {
	if c.state != joining && c.state != opened {
		return
	}
	if c.state == joining {
		if hook := l.h.o.Hooks.Refused; hook != nil {
			hook(reason)
		}
		c.opened = 0
	}
	h := c.hold()
	// The head, where it has not been written yet, or what the socket did not take.
	bytes := appendClose(slices.Concat(h.head, h.rest), reason, text, retryDelay())
	c.state = leaving
	*h = held{reason: reason}
	if c.full {
		h.rest = bytes
		return
	}
	if l.write(c, bytes, true) {
		l.close(c, string(reason))
	}
}

// aged does what time does to a connection.
func (l *loop) aged(c *conn) {
	o := &l.h.o
	switch {
	case c.full && l.clock-c.stuck >= o.WriteTimeout.Milliseconds():
		l.close(c, endedByWrite)
	case c.state == joining && l.clock-c.stuck >= o.JoinTimeout.Milliseconds():
		l.bye(c, CloseUnavailable)
	case c.state != opened:
	case c.expires != 0 && c.expires <= l.wall:
		l.bye(c, CloseTokenExpired)
	case o.MaxAge > 0 && l.wall-c.opened >= l.lifetime(c):
		l.end(c, CloseMaxAge)
	case !c.full && l.clock-c.quiet >= l.patience(c):
		l.scratch = appendHeartbeat(l.scratch[:0], c.heartbeatEvents)
		l.write(c, l.scratch, false)
	}
	l.setAlarm(c)
}

// setAlarm has a connection woken at its expiry, where a walk may be too late.
func (l *loop) setAlarm(c *conn) {
	if left := c.expires - l.wall; c.state == opened && c.expires != 0 && !c.alarm && left <= 2*ticksPerWalk*l.tickInterval().Milliseconds() {
		c.alarm = true
		time.AfterFunc(time.Duration(left)*time.Millisecond, c.Wake)
	}
}

// lifetime is how many milliseconds a connection lasts. It follows from its
// name, so that nothing has to be kept for it.
func (l *loop) lifetime(c *conn) int64 {
	return l.h.lifespan(float64(binary.BigEndian.Uint16(c.id[:])) / math.MaxUint16).Milliseconds()
}

// patience is how many milliseconds a connection is left in silence: each has
// its own, so that heartbeats are spread, and a walk earlier than too late.
func (l *loop) patience(c *conn) int64 {
	d := l.h.o.Heartbeat.Milliseconds()
	return d*4/5 + int64(c.slot*2654435761>>8)%max(d*2/5-d/10, 1)
}

// close ends a connection and gives back all that it holds.
func (l *loop) close(c *conn, why string) {
	if c.state == closed {
		return
	}
	begun := c.state == opened || c.state == leaving && c.opened != 0
	c.state = closed
	l.drain(c) // or the kernel would cut what it has not sent yet
	_ = unix.Close(int(c.fd))
	c.sub.Close()
	for _, m := range c.feeds {
		if m.feed != nil {
			m.feed.leave(m.at)
		}
	}
	l.forsake(c)
	c.holder.bind(nil)
	l.slots[c.slot] = nil
	l.free = append(l.free, c.slot)
	l.open.Add(-1)
	if begun {
		if hook := l.h.o.Hooks.Closed; hook != nil {
			hook(why, time.Duration(max(0, l.wall-c.opened))*time.Millisecond)
		}
		l.h.o.Logger.Debug("stream closed", "connection", c.name(), "user", c.holder.user(), "reason", why)
	}
	c.held = nil
	c.holder.giveBack()
	l.h.remove(c)
}
