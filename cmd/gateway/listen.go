package main

import (
	"context"
	"net"
)

// listen opens a TCP listener whose connections inherit what long streams to
// many clients need; see tuneListener.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	// Go's own keep-alive probes are off: TCP_USER_TIMEOUT and the heartbeats
	// notice dead peers sooner.
	config := net.ListenConfig{Control: tuneListener, KeepAlive: -1}
	return config.Listen(ctx, "tcp", addr)
}
