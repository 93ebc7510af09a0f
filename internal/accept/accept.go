// Package accept paces how a server takes connections.
//
// net/http has a goroutine for each connection, and in a storm of them all
// their stacks exist at the same time and are left behind as garbage, though
// streams are taken over a moment later. A Listener therefore lets only
// Handshakes connections be in the handshake at the same time: accepted, and
// not yet hijacked, idle or closed. The others wait: up to Waiting of them here,
// where a connection is little more than its descriptor, and the rest in the
// kernel's queue.
//
// A place is given back after Patience at the latest, so who connects and says
// nothing delays others, but stops nobody: they are accepted at Handshakes per
// Patience, 1,280 each second. Streams that stay requests of net/http give their
// place back when their response begins, by Handler.
//
// One address does not delay the others. The next place goes to the address that
// has the fewest, and where all are taken, one that has more than Share loses its
// oldest to one that has less. Only an address that is alone uses all. The kernel
// hands connections out in the order in which they came, so those of one address
// must not fill the room where they wait: when it is full, those that wait the
// longest there without having said anything are closed. Addresses are those of
// the sockets, of IPv6 the first 64 bits.
//
// A TLS handshake is part of the handshake: a server gives it its own time, that
// for a request's head, so of connections that never finish one there are no
// more than 1,280 for each second of that.
package accept

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const (
	// Handshakes is how many connections may be in the handshake.
	Handshakes = 64
	// Patience is how long one counts as being in it.
	Patience = 50 * time.Millisecond
	// Share is how many places an address keeps while others want them.
	Share = Handshakes / 4
	// Waiting is how many connections wait for a place outside of the kernel.
	Waiting = 1024
	// quiet is how long a failure to accept is not logged again.
	quiet = 10 * time.Second
)

// Listener is a net.Listener that accepts only so many connections at a time.
// Its connections are those of the listener below, not wrapped. Safe for
// concurrent use; who calls Accept at the same time takes turns. It has a
// goroutine from the first Accept on until Close.
type Listener struct {
	net.Listener
	// Dropped, if not nil, is told of each connection that is closed because it
	// said nothing while too many waited. To be set before the first Accept.
	Dropped func()

	log      *slog.Logger
	patience time.Duration

	accepting sync.Mutex  // held by who accepts, to whom belong
	timer     *time.Timer // when to look again; nil before the first Accept
	failed    time.Time   // when a failure was last logged

	arrivals chan arrival  // what was accepted below
	freed    chan struct{} // a place is free again; one who accepts waits for it
	closed   chan struct{}
	closing  sync.Once

	mu    sync.Mutex
	taken []place // in the order of their ends
	room  waitingRoom
}

// arrival is a connection or an error of the listener below.
type arrival struct {
	conn net.Conn
	err  error
}

// place is one that a connection has.
type place struct {
	conn net.Conn
	peer *peer
	ends time.Time
}

// Pace returns a listener over l. Its ConnState must be that of the server
// that accepts from it. Failures to accept are logged to log, or to
// slog.Default() where that is nil.
func Pace(l net.Listener, log *slog.Logger) *Listener {
	if log == nil {
		log = slog.Default()
	}
	return &Listener{
		Listener: l, log: log, patience: Patience,
		arrivals: make(chan arrival), freed: make(chan struct{}, 1), closed: make(chan struct{}),
		taken: make([]place, 0, Handshakes), room: newWaitingRoom(Patience),
	}
}

// Accept waits for a connection and for a place. The error is that of the
// listener below, or net.ErrClosed. Where another try may succeed, as with all
// descriptors in use, it is a net.Error with Temporary, which has net/http try
// again after 5 ms, growing to 1 s.
func (l *Listener) Accept() (net.Conn, error) {
	l.accepting.Lock()
	defer l.accepting.Unlock()
	if l.timer == nil { // the first time
		l.timer = time.NewTimer(0)
		go l.receive()
	}
	defer l.timer.Stop()
	for {
		c, wait, full := l.next(time.Now())
		if c != nil {
			return c, nil
		}
		arrivals := l.arrivals
		if full {
			arrivals = nil // the rest waits in the kernel
		}
		l.timer.Reset(wait)
		select {
		case a := <-arrivals:
			if a.err != nil {
				return nil, l.failure(a.err)
			}
			l.mu.Lock()
			l.room.add(a.conn, time.Now())
			l.mu.Unlock()
		case <-l.freed:
		case <-l.timer.C:
		case <-l.closed:
			l.leaveNobody() // who came meanwhile
			return nil, net.ErrClosed
		}
	}
}

// receive accepts from the listener below until Close.
func (l *Listener) receive() {
	for {
		c, err := l.Listener.Accept()
		select {
		case l.arrivals <- arrival{c, err}:
		case <-l.closed:
			if c != nil {
				_ = c.Close()
			}
			return
		}
	}
}

// next returns the connection that has the next place, if there are both. If
// not, it tells when to look again, and whether no more can wait here.
func (l *Listener) next(now time.Time) (c net.Conn, wait time.Duration, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	over := 0
	for over < len(l.taken) && !now.Before(l.taken[over].ends) {
		over++
	}
	l.giveBackLocked(0, over)
	p := l.room.next()
	if p == nil {
		return nil, time.Hour, false // somebody has to come first
	}
	if len(l.taken) < Handshakes || p.held < Share && l.takeFromTheLargestLocked() {
		c := l.room.leave(p)
		p.held++
		l.taken = append(l.taken, place{c, p, now.Add(l.patience)})
		return c, 0, false
	}
	wait = l.taken[0].ends.Sub(now)
	dropped, full := l.room.full(now)
	if full {
		wait = min(wait, l.room.silence)
	}
	for ; dropped > 0 && l.Dropped != nil; dropped-- {
		l.Dropped()
	}
	return nil, wait, full
}

// takeFromTheLargestLocked takes the oldest place of the address that has most,
// if that is more than its share. The connection stays: it is only not counted
// any more.
func (l *Listener) takeFromTheLargestLocked() bool {
	largest := 0
	for i := range l.taken {
		if l.taken[i].peer.held > l.taken[largest].peer.held {
			largest = i // the first of its address, so its oldest
		}
	}
	if l.taken[largest].peer.held <= Share {
		return false
	}
	l.giveBackLocked(largest, largest+1)
	return true
}

// giveBackLocked frees the places from up to, not including, to.
func (l *Listener) giveBackLocked(from, to int) {
	for i := from; i < to; i++ {
		l.taken[i].peer.held--
		l.room.forget(l.taken[i].peer)
	}
	n := copy(l.taken[from:], l.taken[to:])
	clear(l.taken[from+n:])
	l.taken = l.taken[:from+n]
}

// ConnState is the hook of the http.Server that accepts from this listener.
func (l *Listener) ConnState(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateHijacked, http.StateIdle, http.StateClosed:
		l.Done(c)
	}
}

// Done gives a connection's place back, if it still has one. It may be wrapped,
// as by tls.Conn, in what has a method NetConn.
func (l *Listener) Done(c net.Conn) {
	c = Accepted(c)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.taken {
		if l.taken[i].conn == c {
			l.giveBackLocked(i, i+1)
			select {
			case l.freed <- struct{}{}:
			default: // who waits looks anyway
			}
			return
		}
	}
}

// Accepted returns the connection that a listener accepted, of one that may be
// wrapped in what has a method NetConn, as tls.Conn has it.
func Accepted(c net.Conn) net.Conn {
	for {
		wrapper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = wrapper.NetConn()
	}
}

// Close closes the listener below and the connections that wait, and ends an
// Accept.
func (l *Listener) Close() error {
	l.closing.Do(func() {
		close(l.closed)
		l.leaveNobody()
	})
	return l.Listener.Close()
}

// leaveNobody closes the connections that wait.
func (l *Listener) leaveNobody() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room.clear()
}

// failure logs why nothing was accepted, and marks what will pass.
func (l *Listener) failure(err error) error {
	temporary, ok := err.(interface{ Temporary() bool }) // as net/http looks at it
	passes := ok && temporary.Temporary()
	if !passes && willPass(err) {
		err, passes = &passing{err}, true
	}
	if now := time.Now(); passes && (l.failed.IsZero() || now.Sub(l.failed) >= quiet) {
		l.failed = now
		l.log.Warn("cannot accept connections; trying again", "error", err)
	}
	return err
}

// willPass knows errors that end http.Server.Serve, though they are of one
// connection or of the moment. accept(2): "Linux accept() passes already-pending
// network errors on the new socket as an error code from accept(). … For reliable
// operation the application should detect the network errors defined for the
// protocol after accept() and treat them like EAGAIN by retrying." ENOBUFS and
// ENOMEM "often means that the memory allocation is limited by the socket buffer
// limits, not by the system memory", and EPERM is a firewall's.
func willPass(err error) bool {
	var number syscall.Errno
	if !errors.As(err, &number) {
		return false
	}
	switch number {
	case syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM, syscall.EPROTO, syscall.ECONNABORTED, syscall.ECONNRESET,
		syscall.ENETDOWN, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.ENETUNREACH:
		return true
	}
	return false
}

// passing is an error after which net/http tries again.
type passing struct{ error }

func (e *passing) Unwrap() error   { return e.error }
func (e *passing) Timeout() bool   { return false }
func (e *passing) Temporary() bool { return true }
