package main

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// userTimeoutMillis is after how long without acknowledgement a peer is
	// dead. By default Linux tries for about 15 minutes.
	userTimeoutMillis = 20_000
	// sendBuffer and notSentBytes bound what a client that stopped reading can
	// hold in the kernel. By default it is up to 4 MiB.
	sendBuffer   = 128 << 10
	notSentBytes = 16 << 10
)

// tuneListener sets options that accepted connections inherit.
func tuneListener(_, _ string, c syscall.RawConn) error {
	var err error
	control := c.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, userTimeoutMillis),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentBytes),
		)
	})
	return errors.Join(control, err)
}
