// Package accept paces how a server takes connections.
//
// net/http has a goroutine for each connection, and in a storm of them all
// their stacks exist at the same time and are left behind as garbage, though
// streams are taken over a moment later. A Listener therefore lets only
// Handshakes connections be in the handshake at the same time: accepted, and
// not yet hijacked, idle or closed. The others wait in the kernel's queue,
// where they cost nothing here.
//
// A place is given back after Patience at the latest, so who connects and says
// nothing delays others, but stops nobody: they are accepted at Handshakes per
// Patience, 1,280 each second. Streams that stay requests of net/http give their
// place back when their response begins, by Handler.
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
	// quiet is how long a failure to accept is not logged again.
	quiet = 10 * time.Second
)

// Listener is a net.Listener that accepts only so many connections at a time.
// Its connections are those of the listener below, not wrapped. Safe for
// concurrent use; who calls Accept at the same time takes turns.
type Listener struct {
	net.Listener
	log *slog.Logger

	accepting sync.Mutex // held by who accepts
	failed    time.Time  // when a failure was last logged; belongs to who accepts

	freed     chan struct{} // a place is free again; one who accepts waits for it
	closed    chan struct{}
	closeOnce sync.Once

	mu    sync.Mutex
	taken []place // in the order of their ends
}

// place is one that a connection has.
type place struct {
	conn net.Conn
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
		Listener: l, log: log, freed: make(chan struct{}, 1), closed: make(chan struct{}),
		taken: make([]place, 0, Handshakes),
	}
}

// Accept waits for a place and then for a connection. The error is that of the
// listener below, or net.ErrClosed. Where another try may succeed, as with all
// descriptors in use, it is a net.Error with Temporary, which has net/http try
// again after 5 ms, growing to 1 s.
func (l *Listener) Accept() (net.Conn, error) {
	l.accepting.Lock()
	defer l.accepting.Unlock()
	if err := l.wait(); err != nil {
		return nil, err
	}
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, l.failure(err)
	}
	l.mu.Lock()
	l.taken = append(l.taken, place{c, time.Now().Add(Patience)})
	l.mu.Unlock()
	return c, nil
}

// wait returns when there is a place, or the listener is closed.
func (l *Listener) wait() error {
	for {
		left := l.untilPlace(time.Now())
		if left <= 0 {
			return nil
		}
		timer := time.NewTimer(left)
		select {
		case <-l.freed:
		case <-timer.C:
		case <-l.closed:
			timer.Stop()
			return net.ErrClosed
		}
		timer.Stop()
	}
}

// untilPlace takes places back whose time is over, and returns how long it is
// until there is one.
func (l *Listener) untilPlace(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.taken) < Handshakes {
		return 0
	}
	over := 0
	for over < len(l.taken) && !now.Before(l.taken[over].ends) {
		over++
	}
	if over == 0 {
		return l.taken[0].ends.Sub(now)
	}
	l.removeLocked(0, over)
	return 0
}

func (l *Listener) removeLocked(from, to int) {
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
			l.removeLocked(i, i+1)
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

// Close closes the listener below, and ends an Accept that waits for a place.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return l.Listener.Close()
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
