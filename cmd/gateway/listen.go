package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listen opens a TCP listener whose connections inherit what long streams to
// many clients need; see tuneListener.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	// Go's own keep-alive probes are off: TCP_USER_TIMEOUT and the heartbeats
	// notice dead peers sooner.
	config := net.ListenConfig{Control: tuneListener, KeepAlive: -1}
	return config.Listen(ctx, "tcp", addr)
}

// listenError says what the setting can be set to where somebody else listens
// already.
func listenError(flag, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s %s: another process has this port: end it, or choose another one, as in %[1]s :8090", flag, addr)
	}
	return fmt.Errorf("listen on %s %s: %w", flag, addr, err)
}
