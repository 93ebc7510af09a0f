package httpapi

import (
	"strings"
	"testing"
	"time"
)

// A token that the browser sends by itself counts only where a page of the
// gateway's own or an allowed origin asked for it.
func TestCookiesOfOtherSites(t *testing.T) {
	const (
		own, sibling, evil = "https://rt.example.com", "https://app.example.com", "https://evil.example"
	)
	s := newSite(t, nil, sibling, "https://*.partner.example")
	token := tokenOf(t, time.Hour, 0)
	for _, tt := range []struct {
		name    string
		headers []string
		want    int
	}{
		{"same-origin", []string{"Sec-Fetch-Site", "same-origin", "Origin", own}, 200},
		{"same-origin GET names no origin", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"typed by the user", []string{"Sec-Fetch-Site", "none"}, 200},
		{"same-site, allowed", []string{"Sec-Fetch-Site", "same-site", "Origin", sibling}, 200},
		{"cross-site, allowed", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://a.partner.example"}, 200},
		{"same-site, another", []string{"Sec-Fetch-Site", "same-site", "Origin", "https://blog.example.com"}, 403},
		{"same-site, unnamed", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"cross-site, unnamed", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"cross-site, another", []string{"Sec-Fetch-Site", "cross-site", "Origin", evil}, 403},
		{"cross-site, sandboxed", []string{"Sec-Fetch-Site", "cross-site", "Origin", "null"}, 403},
		{"cross-site that claims to be our own", []string{"Sec-Fetch-Site", "cross-site", "Origin", own}, 403},
		{"unknown site", []string{"Sec-Fetch-Site", "somewhere", "Origin", own}, 403},
		{"two sites", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site", "Origin", evil}, 403},
		{"older browser, own origin", []string{"Origin", own}, 200},
		{"older browser, own host by http", []string{"Origin", "http://rt.example.com"}, 403},
		{"older browser, own host by http behind a proxy that ends TLS", []string{"Origin", "http://rt.example.com", "Host", "rt.example.com"}, 200},
		{"older browser, own origin behind a proxy that ends TLS", []string{"Origin", own, "Host", "rt.example.com"}, 200},
		{"older browser, allowed", []string{"Origin", sibling}, 200},
		{"older browser, another", []string{"Origin", evil}, 403},
		{"older browser, another port", []string{"Origin", own + ":8443"}, 403},
		{"older browser, a beginning", []string{"Origin", own + ".evil.example"}, 403},
		{"older browser, sandboxed", []string{"Origin", "null"}, 403},
		{"two origins", []string{"Origin", own, "Origin", evil}, 403},
		{"two origins, both allowed", []string{"Origin", sibling, "Origin", sibling}, 403},
		{"neither header", nil, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(s.published.list)
			r := s.do("POST", "/v1/channels/a/events", "x", append(tt.headers, "Cookie", "gateway_token="+token)...)
			if r.StatusCode != tt.want {
				t.Errorf("POST with the cookie: %d, want %d", r.StatusCode, tt.want)
			}
			if n := len(s.published.list) - before; (n == 1) != (tt.want == 200) {
				t.Errorf("%d events were published with status %d", n, r.StatusCode)
			}
			text := detail(t, r)
			if tt.want == 403 && (!strings.Contains(text, "allowed-origins") || !strings.Contains(text, "GATEWAY_ALLOWED_ORIGINS")) {
				t.Errorf("the refusal does not name the setting: %s", text)
			}
			if tt.want == 403 && len(tt.headers) == 4 && tt.headers[2] == "Origin" && !strings.Contains(text, tt.headers[3]) {
				t.Errorf("the refusal does not name the origin: %s", text)
			}
			// A GET could hold a stream, so it is judged before it begins. Without
			// a channel those that are let in get no further than that.
			if tt.want == 403 {
				for _, target := range []string{"/v1/events?channel=a", "/v1/events?channel=a&mode=poll", "/v1/channels/a/events"} {
					if r := s.do("GET", target, "", append(tt.headers, "Cookie", "gateway_token="+token)...); r.StatusCode != 403 {
						t.Errorf("GET %s with the cookie: %d, want 403", target, r.StatusCode)
					}
				}
			}
			// Who adds the token to a request knows of the request.
			for _, r := range []int{
				s.do("POST", "/v1/channels/a/events", "x", append(tt.headers, "Authorization", "Bearer "+token)...).StatusCode,
				s.do("POST", "/v1/channels/a/events", "x", append(tt.headers, "Authorization", "Bearer "+token, "Cookie", "gateway_token="+token)...).StatusCode,
				s.do("POST", "/v1/channels/a/events?token="+token, "x", tt.headers...).StatusCode,
			} {
				if r != 200 {
					t.Errorf("with a token that is not the cookie's: %d, want 200", r)
				}
			}
		})
	}
	if text := detail(t, s.do("GET", "/v1/events?channel=a", "", "Origin", "https://"+strings.Repeat("x", 5000), "Cookie", "gateway_token="+token)); len(text) > 2000 {
		t.Errorf("the refusal repeats %d bytes", len(text))
	}
}
