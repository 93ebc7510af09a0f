package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	testURL    = "https://user:pass@app.example/may?code=hush"
)

// app plays the application, over sockets or without. Safe for concurrent use.
type app struct {
	answer func(w http.ResponseWriter, r *http.Request) // nil: allow
	asked  atomic.Int64                                 // requests
	mu     sync.Mutex
	last   asked
}

// asked is a question as the application gets it.
type asked struct {
	User    *string
	Channel string
	Action  string
	Claims  json.RawMessage
	headers http.Header
	raw     []byte
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked.Add(1)
	raw, _ := io.ReadAll(r.Body)
	got := asked{headers: r.Header.Clone(), raw: raw}
	_ = json.Unmarshal(raw, &got)
	a.mu.Lock()
	a.last = got
	answer := a.answer
	a.mu.Unlock()
	if answer == nil {
		answer = says(`{"allow":true}`)
	}
	answer(w, r)
}

// set changes what the application answers from now on.
func (a *app) set(answer func(http.ResponseWriter, *http.Request)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

func (a *app) question() asked {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// RoundTrip makes the application a transport, for bubbles of synctest.
func (a *app) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func says(body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// hangs answers nobody until the request ends.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// results counts what the hooks tell. Safe for concurrent use.
type results struct {
	mu     sync.Mutex
	count  map[Result]int
	cached int
}

func (r *results) hooks() Hooks {
	r.count = make(map[Result]int)
	return Hooks{
		Cached: func() { r.mu.Lock(); r.cached++; r.mu.Unlock() },
		Asked:  func(result Result, _ time.Duration) { r.mu.Lock(); r.count[result]++; r.mu.Unlock() },
	}
}

func (r *results) of(result Result) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[result]
}

func (r *results) want(t *testing.T, result Result, n int) {
	t.Helper()
	if got := r.of(result); got != n {
		t.Errorf("%d questions ended with %q, want %d; all: %v", got, result, n, r.count)
	}
}

// logs collects what is logged. Safe for concurrent use.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// newAuthorizer makes one that ends with the test.
func newAuthorizer(t testing.TB, o Options) *Authorizer {
	t.Helper()
	if o.URL == "" {
		o.URL = testURL
	}
	if o.Secret == "" {
		o.Secret = testSecret
	}
	a, err := New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(a.Close)
	return a
}

// serve makes an Authorizer that asks app over a socket.
func serve(t *testing.T, a *app, o Options) *Authorizer {
	t.Helper()
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	o.URL = server.URL + "/may"
	return newAuthorizer(t, o)
}

func alice(channel string) Question {
	return Question{User: "alice", Channel: channel, Action: Subscribe, Claims: json.RawMessage(`{"sub":"alice","role":"editor"}`)}
}

func wantAllowed(t *testing.T, a *Authorizer, q Question) time.Time {
	t.Helper()
	until, err := a.Ask(t.Context(), q)
	if err != nil {
		t.Fatalf("Ask = %v, want the application's allow", err)
	}
	return until
}

func wantDenied(t *testing.T, a *Authorizer, q Question) *DeniedError {
	t.Helper()
	until, err := a.Ask(t.Context(), q)
	var denied *DeniedError
	if !errors.Is(err, ErrDenied) || errors.Is(err, ErrUnavailable) || !errors.As(err, &denied) || !until.IsZero() {
		t.Fatalf("Ask = %v, %v, want the application's denial", until, err)
	}
	return denied
}

func wantUnavailable(t *testing.T, a *Authorizer, q Question) error {
	t.Helper()
	return checkUnavailable(t, a, t.Context(), q)
}

func checkUnavailable(t *testing.T, a *Authorizer, ctx context.Context, q Question) error {
	t.Helper()
	until, err := a.Ask(ctx, q)
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrDenied) || !until.IsZero() {
		t.Errorf("Ask = %v, %v, want ErrUnavailable", until, err)
		return errors.New("none")
	}
	if text := err.Error(); strings.ContainsAny(text, "\r\n") || strings.Contains(text, "hush") || strings.Contains(text, "pass@") || strings.Contains(text, "editor") {
		t.Errorf("the error is on several lines, or tells secrets: %q", text)
	}
	return err
}

func verifier(t *testing.T) *standardwebhooks.Webhook {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
