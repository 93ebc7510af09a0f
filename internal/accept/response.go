package accept

import (
	"context"
	"net"
	"net/http"
)

// connKey is where a request's context keeps its connection for Handler.
type connKey struct{}

// ConnContext returns ctx with the connection, for Handler. It belongs to that
// hook of the http.Server. Safe for concurrent use.
func (l *Listener) ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// Handler returns h such that a connection's place is given back when its
// response begins, for those whose requests last: streams that stay with
// net/http. It needs ConnContext. What else a response can do is found by
// http.ResponseController. Safe for concurrent use, as h is.
func (l *Listener) Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			w = &response{ResponseWriter: w, listener: l, conn: c}
		}
		h.ServeHTTP(w, r)
	})
}

// response is one whose beginning gives a place back.
type response struct {
	http.ResponseWriter
	listener *Listener
	conn     net.Conn // nil once the response has begun
}

// Unwrap lets http.ResponseController find what is below.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *response) WriteHeader(status int) {
	r.begin()
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(p []byte) (int, error) {
	r.begin()
	return r.ResponseWriter.Write(p)
}

func (r *response) begin() {
	if r.conn != nil {
		r.listener.Done(r.conn)
		r.conn = nil
	}
}
