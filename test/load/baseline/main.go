package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "address for clients")
	server := flag.String("redis", "127.0.0.1:6379", "address of Redis")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *addr, *server); err != nil {
		fmt.Fprintln(os.Stderr, "baseline:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, addr, redisAddr string) error {
	db := redis.NewClient(&redis.Options{Addr: redisAddr})
	defer db.Close()
	h := newHub(db.Subscribe(ctx))
	fed := make(chan error, 1)
	go func() { fed <- h.run(ctx) }()
	s := &http.Server{Addr: addr, Handler: routes(h)}
	served := make(chan error, 1)
	go func() { served <- s.ListenAndServe() }()
	var err error
	select {
	case err = <-served:
	case err = <-fed:
	case <-ctx.Done():
	}
	return errors.Join(err, s.Close())
}

// routes has the streams, and a path that tells when the server listens.
func routes(h *hub) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /events", h.serve)
	return mux
}
