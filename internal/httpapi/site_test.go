package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/origin"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
)

// published notes what is published.
type published struct{ list []redisbus.Message }

func (p *published) Publish(_ context.Context, m redisbus.Message) (channels.Position, error) {
	p.list = append(p.list, m)
	return channels.Position{Millis: 1}, nil
}

// names is a broker of which nothing but names is asked.
type names struct{ channels.Broker }

func (names) CheckChannel(string) error { return nil }

// site is the interface as a browser sees it, with policies and keys, and
// without streams.
type site struct {
	http.Handler
	t         *testing.T
	published *published
}

func newSite(t *testing.T, change func(*Options), origins ...string) *site {
	t.Helper()
	pattern, err := channels.ParsePattern("**")
	if err != nil {
		t.Fatal(err)
	}
	policies, err := channels.NewPolicies([]channels.Policy{{Pattern: pattern}})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.New(t.Context(), auth.Options{Secret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := origin.ParseList(origins)
	if err != nil {
		t.Fatal(err)
	}
	p := &published{}
	o := Options{Hub: channels.NewHub(channels.Options{Broker: names{}, Policies: policies}), Publisher: p, Verifier: verifier, AllowedOrigins: allowed}
	if change != nil {
		change(&o)
	}
	return &site{New(o), t, p}
}

// tokenOf is one with all rights and a long subject, if size asks for it.
func tokenOf(t *testing.T, ttl time.Duration, size int) string {
	t.Helper()
	token, err := auth.Sign(testSecret, auth.Grant{
		Subject: "alice", Subscribe: []string{"**"}, Publish: []string{"**"}, TTL: ttl, Issuer: strings.Repeat("x", size),
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func signAt(now time.Time, ttl time.Duration) (string, error) {
	return auth.Sign(testSecret, auth.Grant{Subject: "alice", TTL: ttl}, now)
}

// do sends a request to https://rt.example.com with these headers, given as
// name and value.
func (s *site) do(method, path, body string, headers ...string) *http.Response {
	s.t.Helper()
	r := httptest.NewRequest(method, "https://rt.example.com"+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host, r.TLS = headers[i+1], nil
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func detail(t *testing.T, r *http.Response) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
