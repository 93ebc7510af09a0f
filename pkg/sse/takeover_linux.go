package sse

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"

	"golang.org/x/sys/unix"
)

// errNoTakeover means that a request's connection cannot be taken from the
// HTTP server: it needs a goroutine.
var errNoTakeover = errors.New("sse: not a plain HTTP/1 connection over TCP")

// duplicate returns a second descriptor of the request's connection. The error
// is errNoTakeover, or the system's, as where there are no descriptors left.
func duplicate(r *http.Request) (int, error) {
	tcp, ok := connOf(r.Context()).(*net.TCPConn)
	if !ok || r.ProtoMajor != 1 || r.TLS != nil {
		return -1, errNoTakeover
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("sse: %w", err)
	}
	fd := -1
	if closed := raw.Control(func(own uintptr) {
		fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	}); closed != nil {
		err = closed
	}
	if err != nil {
		return -1, fmt.Errorf("sse: duplicate a descriptor: %w", err)
	}
	return fd, nil
}

// release takes the connection from the HTTP server and closes the server's
// descriptor of it. The duplicate keeps the connection itself open, so nothing
// is sent; but the runtime's poller forgets it, and its buffers are freed, with
// what they hold of bytes behind the request: it must not become another one.
func release(w http.ResponseWriter) error {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	return c.Close()
}

// write writes without blocking, and tells how much went out and whether the
// socket takes no more for now.
func write(fd int, data []byte) (n int, full bool, err error) {
	for n < len(data) {
		// It does not block, so the scheduler need not hear of it.
		wrote, errno := rawWrite(fd, data[n:])
		switch errno {
		case 0:
			n += wrote
		case syscall.EINTR:
		case syscall.EAGAIN:
			return n, true, nil
		default:
			return n, false, errno
		}
	}
	return n, false, nil
}
