package heads

import (
	"errors"
	"net"
)

// ErrAmbiguous is what reading from a guarded connection fails with.
var ErrAmbiguous = errors.New("heads: a request that could be understood in two ways")

// Guard returns a listener whose connections fail to be read with
// ErrAmbiguous before an ambiguous head is complete. Their method NetConn returns what l accepted. As safe for concurrent
// use as l is; of a connection one goroutine at a time may read.
func Guard(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

type conn struct {
	net.Conn
	scanner scanner
}

// NetConn returns the connection below.
func (c *conn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends the sending side, for those servers that let a client read
// the answer before they close.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if c.scanner.refused {
		return 0, ErrAmbiguous
	}
	n, err := c.Conn.Read(p)
	switch good := c.scanner.scan(p[:n]); {
	case good == n:
		return n, err
	case good == 0:
		return 0, ErrAmbiguous
	default:
		// What is complete before it is still served, and of this head there is
		// a part to answer.
		return good, nil
	}
}
