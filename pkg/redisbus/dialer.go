package redisbus

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// dialer makes the connections of commands and remembers them by server, so that
// those to a master can be closed once it has a successor. A command to one that
// hangs would otherwise wait for its timeout, and be sent there once more, before
// it is tried at the successor; and one that was demoted still answers.
type dialer struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu    sync.Mutex
	conns map[string]map[net.Conn]bool // by server
	gone  map[string]time.Time         // when servers were cut
}

// goneFor is how long a server that was cut is not connected to: go-redis sends
// a command whose connection broke to the same node again.
const goneFor = 2 * time.Second

var errReplaced = errors.New("this master has just been replaced")

func newDialer(config *tls.Config) *dialer {
	dial := redis.NewDialer(&redis.Options{DialTimeout: dialTimeout, TLSConfig: config})
	return &dialer{
		dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			// See serverKey. A certificate is verified by the host.
			if config != nil && strings.HasPrefix(addr, ":") {
				addr = "127.0.0.1" + addr
			}
			return dial(ctx, network, addr)
		},
		conns: make(map[string]map[net.Conn]bool), gone: make(map[string]time.Time),
	}
}

func (d *dialer) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	at := serverKey(addr)
	d.mu.Lock()
	gone := time.Since(d.gone[at]) < goneFor
	d.mu.Unlock()
	if gone {
		return nil, errReplaced
	}
	raw, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns[at] == nil {
		d.conns[at] = make(map[net.Conn]bool)
	}
	d.conns[at][raw] = true
	c := dialedConn{Conn: raw, closed: func() { d.forget(at, raw) }}
	if system, ok := raw.(syscall.Conn); ok {
		// go-redis looks at the socket before it uses an idle connection.
		return systemConn{c, system}, nil
	}
	return c, nil
}

func (d *dialer) forget(at string, c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns[at], c)
	if len(d.conns[at]) == 0 {
		delete(d.conns, at)
	}
}

// back allows connections to a server that was cut.
func (d *dialer) back(addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.gone, serverKey(addr))
}

// cut closes the connections to a server.
func (d *dialer) cut(addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := serverKey(addr)
	d.gone[at] = time.Now()
	for c := range d.conns[at] {
		_ = c.Close()
	}
}

// serverKey is the same for all names of the loopback address, for which
// go-redis has one of its own, without a host.
func serverKey(addr string) string {
	if host, port, err := net.SplitHostPort(addr); err == nil && isLoopback(host) {
		return ":" + port
	}
	return addr
}

type dialedConn struct {
	net.Conn
	closed func()
}

func (c dialedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

type systemConn struct {
	dialedConn
	system syscall.Conn
}

func (c systemConn) SyscallConn() (syscall.RawConn, error) { return c.system.SyscallConn() }
