package httpapi

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"realtime-gateway/pkg/channels"
)

func TestChannelPath(t *testing.T) {
	for target, want := range map[string]string{
		"/v1/channels/a/events":                        "a",
		"/v1/channels/project:42:tasks/events":         "project:42:tasks",
		"/v1/channels/a/b/events":                      "a/b",
		"/v1/channels/a%2Fb/events":                    "a/b",
		"/v1/channels/events/events":                   "events",
		"/v1/channels/a%40b+c%3D%2B/events":            "a@b+c=+",
		"/v1/channels/a":                               "",
		"/v1/channels//events":                         "",
		"/v1/channels/a/presence":                      "",
		"/v1/channels/" + url.PathEscape("a\n/events"): "",
	} {
		got, err := channelPath(httptest.NewRequest(http.MethodGet, target, nil))
		if (err != nil) != (want == "") || got != want {
			t.Errorf("%s: channel %q, %v, want %q", target, got, err, want)
		}
	}
}

func TestParseAfter(t *testing.T) {
	p := channels.Position{Millis: 1_700_000_000_000, Seq: 3}
	cursor := string(channels.AppendCursor(nil, []channels.Mark{{Hash: channels.HashName("a"), Position: p}}))
	for text, want := range map[string]*channels.Position{"": nil, "0-0": nil, p.String(): &p, cursor: &p} {
		got, err := parseAfter(text, "a")
		if err != nil || (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("after %q: %v, %v, want %v", text, got, err, want)
		}
	}
	if got, err := parseAfter(cursor, "b"); got != nil || err != nil {
		t.Errorf("a cursor of another channel: %v, %v, want the beginning", got, err)
	}
	if _, err := parseAfter("nonsense", "a"); err == nil {
		t.Error("nonsense is a position")
	}
}

func TestLoopbackOnly(t *testing.T) {
	h := New(Options{Dev: &Dev{Page: http.NotFoundHandler(), Info: func() any { return 1 }, Replicas: func() any { return 1 }}})
	for _, tt := range []struct {
		host, origin string
		want         int
	}{
		{"127.0.0.1:8080", "", 200},
		{"localhost", "", 200},
		{"[::1]:8080", "", 200},
		{"127.0.0.1:8080", "http://localhost:5173", 200},
		{"evil.example", "", 403},
		{"127.0.0.1.evil.example:8080", "", 403},
		{"127.0.0.1:8080", "https://evil.example", 403},
		{"127.0.0.1:8080", "null", 403},
		{"192.168.1.1:8080", "", 403},
	} {
		r := httptest.NewRequest(http.MethodGet, "/dev/info", nil)
		r.Host = tt.host
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("host %q, origin %q: %d, want %d", tt.host, tt.origin, w.Code, tt.want)
		}
		if allowed := w.Header().Get("Access-Control-Allow-Origin"); tt.want == 200 && allowed != tt.origin {
			t.Errorf("origin %q: allowed is %q", tt.origin, allowed)
		}
	}
}
