package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"realtime-gateway/internal/accept"
	"realtime-gateway/internal/config"
	"realtime-gateway/internal/heads"
	"realtime-gateway/internal/limit"
	"realtime-gateway/internal/tlsfiles"
	"realtime-gateway/pkg/sse"
)

// What an HTTP/2 client may do, beside what holds for HTTP/1.
const (
	// maxConcurrentStreams is how many streams one connection may have; a proxy
	// that needs more opens another.
	maxConcurrentStreams = 250
	// A connection on which nothing came for silence is asked by a ping, and ends
	// without an answer within pingTimeout.
	silence     = 15 * time.Second
	pingTimeout = 10 * time.Second
)

var sameSite = map[string]http.SameSite{
	config.SameSiteStrict: http.SameSiteStrictMode,
	config.SameSiteLax:    http.SameSiteLaxMode,
	config.SameSiteNone:   http.SameSiteNoneMode,
}

// server returns a server of h. Its timeouts cut no stream: there is none for
// responses, and streams bound each write by themselves.
func (g *gateway) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: g.cfg.ReadHeaderTimeout, IdleTimeout: g.cfg.IdleTimeout, MaxHeaderBytes: g.cfg.MaxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxConcurrentStreams,
			SendPingTimeout:      silence,
			PingTimeout:          pingTimeout,
			WriteByteTimeout:     g.cfg.WriteTimeout,
		},
		DisableGeneralOptionsHandler: true,                                                // OPTIONS * gets the same headers as the rest
		ErrorLog:                     slog.NewLogLogger(g.log.Handler(), slog.LevelDebug), // what clients do wrong
	}
}

// loadCertificate reads the files that the settings name, if they do.
func (g *gateway) loadCertificate() error {
	if g.cfg.TLSCertFile == "" {
		return nil
	}
	var err error
	if g.tls, err = tlsfiles.Load(g.cfg.TLSCertFile, g.cfg.TLSKeyFile, g.log); err != nil {
		return usagef("config: %v", err)
	}
	return g.telemetry.ObserveCertificate(g.tls.Expires)
}

// servePublic serves browsers on l until the server is shut down.
func (g *gateway) servePublic(parts *group, l net.Listener) {
	s := g.public
	door := accept.Pace(l, g.log)
	limited := g.telemetry.Limited()
	door.Dropped = func() { limited(limit.Handshakes) }
	s.ConnState, s.Handler = door.ConnState, door.Handler(s.Handler)
	s.ConnContext = door.ConnContext
	if g.tls == nil {
		s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			return sse.WithConn(door.ConnContext(ctx, c), accept.Accepted(c))
		}
		parts.run("http", func(context.Context) error { return serving(s.Serve(heads.Guard(door))) })
		return
	}
	s.TLSConfig = g.tls.Config()
	parts.run("http", func(context.Context) error { return serving(s.ServeTLS(door, "", "")) })
	parts.run("certificate", func(ctx context.Context) error {
		now := make(chan os.Signal, 1)
		signal.Notify(now, syscall.SIGHUP)
		defer signal.Stop(now)
		return g.tls.Run(ctx, now)
	})
}

// serving leaves out the error of a server that was shut down.
func serving(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
