package integration_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// What a page of another site can have a visitor's browser send, with the
// cookie, neither reads nor writes anything, nor is any answer its to read.
func TestSecurityOtherSites(t *testing.T) {
	t.Parallel()
	onBothPaths(t, setup{replicas: 1}, func(t *testing.T, f *fixture) {
		const evil = "https://evil.example"
		ch := "project:sites:tasks"
		count(t, f, ch, 1, 1)
		cookie := "gateway_token=" + harness.Token{Sub: "alice", Subscribe: []string{"**"}, Publish: []string{"**"}}.Sign()
		pages := map[string]http.Header{
			"fetch":                {"Origin": {evil}, "Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"cors"}},
			"no-cors, img, script": {"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"no-cors"}},
			"link, form":           {"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}},
			"sandboxed frame":      {"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}},
			"sibling":              {"Origin": {"http://blog." + f.replicas[0].Addr}, "Sec-Fetch-Site": {"same-site"}},
			"older browser":        {"Origin": {evil}},
		}
		types := []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json"}
		for name, page := range pages {
			for _, tt := range []struct{ method, path, body string }{
				{http.MethodGet, "/v1/events?channel=" + ch, ""},
				{http.MethodGet, "/v1/events?mode=poll&lastN=1&channel=" + ch, ""},
				{http.MethodGet, "/v1/channels/" + ch + "/events", ""},
				{http.MethodPost, "/v1/events", `{"channel":"` + ch + `"}`},
				{http.MethodPost, "/v1/channels/" + ch + "/events", "forged"},
				{http.MethodPost, "/v1/session", ""},
				{http.MethodDelete, "/v1/session", ""},
			} {
				for _, contentType := range types {
					header := page.Clone()
					header.Set("Cookie", cookie)
					header.Set("Content-Type", contentType)
					a := knock(t, tt.method, f.url(0)+tt.path, header, tt.body)
					wantProblem(t, a, http.StatusForbidden)
					if a.header.Get("Set-Cookie") != "" || strings.Contains(a.body, `"n":1`) {
						t.Errorf("%s: %s %s is answered %v %s", name, tt.method, tt.path, a.header, a.body)
					}
				}
				a := knock(t, http.MethodOptions, f.url(0)+tt.path, http.Header{"Origin": {evil}, "Access-Control-Request-Method": {tt.method}}, "")
				for header := range a.header {
					if strings.HasPrefix(header, "Access-Control") {
						t.Errorf("a preflight of %s is answered %v", tt.path, a.header)
					}
				}
			}
		}
		if n, err := f.db().XLen(t.Context(), "gw:"+ch).Result(); err != nil || n != 1 {
			t.Errorf("%d entries (%v), want the one", n, err)
		}
		if opened, err := metric(f.replicas[0], "gateway_streams_opened_total"); err == nil && opened != "0" {
			t.Errorf("%s streams began", opened)
		}
	})
}

// No cache keeps an answer, or gives it to another user, whatever it is.
func TestSecurityNothingIsStored(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	count(t, f, ch, 1, 1)
	good := bearer(harness.Token{Sub: "alice", Subscribe: []string{"**"}, Publish: []string{"**"}}.Sign())
	for _, tt := range []struct {
		name, method, path string
		header             http.Header
		body               string
		status             int
	}{
		{"stream", http.MethodGet, "/v1/events?channel=" + ch, good, "", 200},
		{"stream by POST", http.MethodPost, "/v1/events", good, `{"channel":"` + ch + `"}`, 200},
		{"poll", http.MethodGet, "/v1/events?mode=poll&channel=" + ch + "&lastEventId=" + url.QueryEscape(forgeCursor(mark{ch, harness.Position{Millis: 1}})), good, "", 200},
		{"history", http.MethodGet, "/v1/channels/" + ch + "/events", good, "", 200},
		{"history of nobody", http.MethodGet, "/v1/channels/" + ch + "/events", nil, "", 200},
		{"publish", http.MethodPost, "/v1/channels/" + channel("hist") + "/events", good, "x", 200},
		{"session", http.MethodPost, "/v1/session", good, "", 204},
		{"end of a session", http.MethodDelete, "/v1/session", nil, "", 204},
		{"no token", http.MethodGet, "/v1/events?channel=" + coveted, nil, "", 401},
		{"bad token", http.MethodGet, "/v1/events?channel=" + ch, bearer("x"), "", 401},
		{"unknown channel", http.MethodGet, "/v1/events?channel=none", good, "", 403},
		{"malformed", http.MethodGet, "/v1/events?channel=a%20b", good, "", 400},
		{"nothing there", http.MethodGet, "/v1/nothing", good, "", 404},
		{"wrong method", http.MethodPut, "/v1/events", good, "", 405},
		{"too long", http.MethodPost, "/v1/channels/" + ch + "/events", good, strings.Repeat("x", 300_000), 413},
	} {
		a := knock(t, tt.method, f.url(0)+tt.path, tt.header, tt.body)
		if a.status != tt.status {
			t.Errorf("%s: status %d, want %d: %.200s", tt.name, a.status, tt.status, a.body)
		}
		directives := strings.Split(a.header.Get("Cache-Control"), ", ")
		if !slices.Contains(directives, "no-store") || a.header.Get("Vary") != "Authorization, Cookie, Origin" || a.header.Get("Etag") != "" || a.header.Get("Last-Modified") != "" {
			t.Errorf("%s: may be stored: %v", tt.name, a.header)
		}
		if a.header.Get("Referrer-Policy") != "no-referrer" || a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: the header is %v", tt.name, a.header)
		}
	}
}
