//go:build unix

package accept

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// spoke tells whether a connection of which nothing was read has something to
// read. Where that is not known, it has.
func spoke(c net.Conn) bool {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false // closed
	}
	n := 0
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, _ = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err == nil && n > 0
}
