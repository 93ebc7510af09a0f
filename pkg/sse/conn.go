package sse

import (
	"context"
	"net"
)

// connKey is where a request's context keeps its connection.
type connKey struct{}

// WithConn returns ctx with the connection that its requests come from. It is
// the ConnContext of an http.Server, and so is called once for each connection
// that was accepted, before the first request is read. The connection must be
// the accepted one itself, not a wrapper: what has a descriptor of its own can
// then be had from it. Safe for concurrent use.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf returns the connection of a request's context, or nil where the server
// has not stored it. It is only looked at here: until a hijack, net/http reads
// from it and writes to it.
func connOf(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}
