package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// problem is an error that the page is told.
type problem struct {
	status int
	text   string
}

func (p problem) Error() string { return p.text }

// Problem is an error with a status and a text for the user.
func Problem(status int, text string) error { return problem{status, text} }

// Handler answers with a value, which becomes JSON, or an error.
type Handler func(*http.Request) (any, error)

// ServeHTTP answers the request.
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// All of it first: who is answered before having sent it may see a broken
	// connection in place of the answer.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	r.Body = io.NopCloser(bytes.NewReader(body))
	var answer any
	if err == nil {
		answer, err = h(r)
	} else {
		err = Problem(http.StatusRequestEntityTooLarge, "That is too long.")
	}
	status := http.StatusOK
	if err != nil {
		status = http.StatusServiceUnavailable
		text := "the service cannot do that at the moment"
		var p problem
		if errors.As(err, &p) {
			status, text = p.status, p.text
		} else {
			log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		answer = map[string]string{"error": text}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

// Serve serves the routes, and /api/health, on the socket SOCKET until the process is
// told to end.
func Serve(routes map[string]Handler) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	mux := http.NewServeMux()
	mux.Handle("GET /api/health", Handler(func(*http.Request) (any, error) { return "ok", nil }))
	for pattern, handler := range routes {
		mux.Handle(pattern, handler)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", os.Getenv("SOCKET"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
