package httpapi

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"realtime-gateway/internal/readiness"
)

// vary is what an answer depends on, each once.
func vary(r *http.Response) []string {
	var names []string
	for _, line := range r.Header.Values("Vary") {
		for name := range strings.SplitSeq(line, ",") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestCORS(t *testing.T) {
	s := newSite(t, nil, "https://app.example.com", "https://*.partner.example")
	token := tokenOf(t, time.Hour, 0)
	for _, tt := range []struct {
		origin  string
		allowed bool
	}{
		{"https://app.example.com", true}, {"https://x.y.partner.example", true},
		{"https://evil.example", false}, {"null", false}, {"http://app.example.com", false}, {"", false}, {"https://partner.example", false},
	} {
		for _, request := range []struct {
			method, path string
			status       int
		}{
			{"POST", "/v1/channels/a/events", 200},
			{"GET", "/v1/events", 400},
			{"GET", "/v1/channels/a%20b/events", 400},
			{"GET", "/v1/nothing", 404},
			{"PUT", "/v1/events", 405},
		} {
			r := s.do(request.method, request.path, "", "Origin", tt.origin, "Authorization", "Bearer "+token)
			want, credentials := "", ""
			if tt.allowed {
				want, credentials = tt.origin, "true"
			}
			if got := r.Header.Get("Access-Control-Allow-Origin"); r.StatusCode != request.status || got != want || r.Header.Get("Access-Control-Allow-Credentials") != credentials {
				t.Errorf("%s %s from %q: status %d (want %d), allowed is %q (want %q), credentials %q", request.method, request.path, tt.origin,
					r.StatusCode, request.status, got, want, r.Header.Get("Access-Control-Allow-Credentials"))
			}
			if got := vary(r); !slices.Equal(got, []string{"Authorization", "Cookie", "Origin"}) {
				t.Errorf("%s %s varies with %q", request.method, request.path, got)
			}
			if request.status >= 400 && r.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s is %s", request.method, request.path, r.Header.Get("Content-Type"))
			}
		}
		for _, method := range []string{"GET", "POST", "DELETE"} {
			r := s.do("OPTIONS", "/v1/events", "", "Origin", tt.origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", "authorization,last-event-id")
			h := r.Header
			if r.StatusCode != 204 {
				t.Errorf("preflight from %q: %d", tt.origin, r.StatusCode)
			}
			if !tt.allowed {
				if h.Get("Access-Control-Allow-Origin") != "" || h.Get("Access-Control-Allow-Headers") != "" {
					t.Errorf("preflight from %q is answered %v", tt.origin, h)
				}
				continue
			}
			if h.Get("Access-Control-Allow-Origin") != tt.origin || h.Get("Access-Control-Allow-Credentials") != "true" ||
				h.Get("Access-Control-Allow-Methods") != "GET,POST,DELETE" || h.Get("Access-Control-Max-Age") != "600" ||
				h.Get("Access-Control-Allow-Headers") != "Authorization,Content-Type,Last-Event-ID,Cache-Control" {
				t.Errorf("preflight from %q is answered %v", tt.origin, h)
			}
			if !slices.Contains(vary(r), "Origin") {
				t.Errorf("preflight varies with %q", vary(r))
			}
		}
	}
}

func TestNoCORSWithoutTheSetting(t *testing.T) {
	s := newSite(t, nil)
	for _, method := range []string{"GET", "POST", "OPTIONS"} {
		r := s.do(method, "/v1/events", "", "Origin", "https://rt.example.com", "Access-Control-Request-Method", "GET")
		for name := range r.Header {
			if strings.HasPrefix(name, "Access-Control") {
				t.Errorf("%s answers %s", method, name)
			}
		}
		if !slices.Contains(vary(r), "Origin") {
			t.Errorf("%s varies with %q", method, vary(r))
		}
	}
}

// What keeps tokens from leaking is on every answer.
func TestEveryAnswerIsSecure(t *testing.T) {
	s := newSite(t, nil)
	ops := &site{Handler: NewOps(OpsOptions{Ready: func() readiness.Report { return readiness.Report{Status: readiness.Ready} }, Metrics: http.NotFoundHandler()}), t: t}
	for _, r := range []*http.Response{
		s.do("GET", "/v1/events", ""), s.do("GET", "/", ""), s.do("PUT", "/v1/session", ""), s.do("POST", "/v1/session", ""),
		s.do("DELETE", "/v1/session", ""), ops.do("GET", "/healthz", ""), ops.do("GET", "/x", ""),
	} {
		if r.Header.Get("Referrer-Policy") != "no-referrer" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("status %d has the header %v", r.StatusCode, r.Header)
		}
	}
	if r := s.do("DELETE", "/v1/session", ""); r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("may be stored: %v", r.Header)
	}
}

// In development the operators' interface has no name but those of loopback
// either: any site can point one of its own there.
func TestOpsInDevelopmentHasNoOtherName(t *testing.T) {
	for _, dev := range []bool{true, false} {
		ops := NewOps(OpsOptions{Ready: func() readiness.Report { return readiness.Report{Status: readiness.Ready} }, Metrics: http.NotFoundHandler(), Dev: dev})
		for host, foreign := range map[string]bool{"127.0.0.1:9090": false, "localhost": false, "[::1]:9090": false, "evil.example": true, "10.0.0.1:9090": true} {
			r := httptest.NewRequest("GET", "/healthz", nil)
			r.Host = host
			w := httptest.NewRecorder()
			ops.ServeHTTP(w, r)
			if (w.Code == http.StatusForbidden) != (dev && foreign) {
				t.Errorf("in development: %v, asked as %s: %d", dev, host, w.Code)
			}
		}
	}
}
