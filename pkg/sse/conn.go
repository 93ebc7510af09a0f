package sse

import (
	"context"
	"net"
)

type connKey struct{}

// WithConn returns a context that carries the connection on which a request
// came: http.Server.ConnContext. Without it every stream gets a goroutine.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf returns the connection on which a request came, or nil.
func connOf(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}
