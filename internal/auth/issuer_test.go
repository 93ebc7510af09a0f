package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
)

// issuer serves a JWKS, over HTTP or, inside a bubble with its own time, as an
// http.RoundTripper.
type issuer struct {
	mu     sync.Mutex
	body   string
	status int           // 0: 200
	down   error         // refuses connections
	delay  time.Duration // before it answers
	header http.Header   // of the last request
	asked  int
}

// jwk is a key as JSON; fields add to and replace the usual ones.
func jwk(public any, kid string, fields map[string]any) map[string]any {
	key := must(jwkset.NewJWKFromKey(public, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}}))
	var out map[string]any
	if err := json.Unmarshal(must(json.Marshal(key.Marshal())), &out); err != nil {
		panic(err)
	}
	for name, value := range fields {
		out[name] = value
	}
	return out
}

func keySetJSON(keys ...map[string]any) string {
	return string(must(json.Marshal(map[string]any{"keys": keys})))
}

func (i *issuer) serve(body string) { i.change(func() { i.body, i.status, i.down = body, 0, nil }) }

func (i *issuer) change(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *issuer) fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

func (i *issuer) answer(r *http.Request) (status int, body string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	i.header = r.Header
	if i.status == 0 {
		return http.StatusOK, i.body, i.down
	}
	return i.status, i.body, i.down
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, body, _ := i.answer(r)
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	var delay time.Duration
	i.change(func() { delay = i.delay })
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	status, body, err := i.answer(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewBufferString(body)), Request: r}, nil
}

func (i *issuer) client() *http.Client { return &http.Client{Transport: i} }

var errRefused = errors.New("connection refused")

// es signs with ES256 under a kid; "" leaves it out.
func es(key any, kid string) string {
	if kid == "" {
		return sign("ES256", key, claims(), nil)
	}
	return sign("ES256", key, claims(), map[string]any{"kid": kid})
}

func wantFetches(t *testing.T, i *issuer, want int) {
	t.Helper()
	if got := i.fetches(); got != want {
		t.Fatalf("key set was fetched %d times, want %d", got, want)
	}
}

func wantLog(t *testing.T, l *logs, part string, want int) {
	t.Helper()
	if got := strings.Count(l.String(), part); got != want {
		t.Errorf("log has %q %d times, want %d:\n%s", part, got, want, l.String())
	}
}
