package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestSession(t *testing.T) {
	s := newSite(t, nil, "https://app.example.com")
	token := tokenOf(t, time.Hour, 0)
	r := s.do("POST", "/v1/session", "", "Authorization", "Bearer "+token)
	cookies := r.Cookies()
	if r.StatusCode != 204 || len(cookies) != 1 {
		t.Fatalf("answered %d with %v", r.StatusCode, cookies)
	}
	c := cookies[0]
	if c.Name != "gateway_token" || c.Value != token || c.Path != "/v1" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode ||
		c.MaxAge < 3500 || c.MaxAge > 3601 || c.Domain != "" {
		t.Errorf("the cookie is %+v", c)
	}
	// It opens what the token does.
	if r := s.do("POST", "/v1/channels/a/events", "x", "Cookie", c.Name+"="+c.Value); r.StatusCode != 200 {
		t.Errorf("with the cookie: %d", r.StatusCode)
	}
	r = s.do("DELETE", "/v1/session", "", "Cookie", c.Name+"="+c.Value)
	if gone := r.Cookies(); r.StatusCode != 204 || len(gone) != 1 || gone[0].MaxAge >= 0 || gone[0].Value != "" || gone[0].Path != "/v1" || gone[0].Name != c.Name {
		t.Errorf("DELETE answers %d with %v", r.StatusCode, gone)
	}
}

func TestSessionRefuses(t *testing.T) {
	s := newSite(t, nil, "https://app.example.com")
	token, large := tokenOf(t, time.Hour, 0), tokenOf(t, time.Hour, 3200)
	for _, tt := range []struct {
		name, method, query string
		headers             []string
		status              int
		want                string
	}{
		{"no token", "POST", "", nil, 401, "Authorization: Bearer"},
		{"by cookie", "POST", "", []string{"Cookie", "gateway_token=" + token}, 401, "Authorization: Bearer"},
		{"by query", "POST", "?token=" + token, nil, 401, "Authorization: Bearer"},
		{"a bad one", "POST", "", []string{"Authorization", "Bearer " + token + "x"}, 401, "signature"},
		{"another site", "POST", "", []string{"Authorization", "Bearer " + token, "Origin", "https://evil.example"}, 403, "evil.example"},
		{"another site clears", "DELETE", "", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403, "evil.example"},
		{"too large", "POST", "", []string{"Authorization", "Bearer " + large}, 400, "browsers keep 4096"},
	} {
		r := s.do(tt.method, "/v1/session"+tt.query, "", tt.headers...)
		text := detail(t, r)
		if r.StatusCode != tt.status || !strings.Contains(text, tt.want) || len(r.Cookies()) > 0 {
			t.Errorf("%s: %s\nwant %d with %q", tt.name, text, tt.status, tt.want)
		}
		if strings.Contains(text, token) || strings.Contains(text, large) {
			t.Errorf("%s: the refusal repeats the token", tt.name)
		}
	}
	if r := s.do("POST", "/v1/session", "", "Authorization", "Bearer "+token, "Origin", "https://app.example.com", "Sec-Fetch-Site", "same-site"); r.StatusCode != 204 {
		t.Errorf("an allowed origin: %d", r.StatusCode)
	}
	if r := newSite(t, func(o *Options) { o.Verifier = nil }).do("POST", "/v1/session", "", "Authorization", "Bearer "+token); r.StatusCode != 401 || len(r.Cookies()) > 0 {
		t.Errorf("without keys: %d", r.StatusCode)
	}
	// A token without an end makes a cookie of the browser's session.
	if c := s.do("POST", "/v1/session", "", "Authorization", "Bearer "+tokenOf(t, 0, 0)).Cookies(); len(c) != 1 || c[0].MaxAge != 0 {
		t.Errorf("without an end: %v", c)
	}
}

func TestSessionCookieAttributes(t *testing.T) {
	dev := &Dev{Page: http.NotFoundHandler()}
	for _, tt := range []struct {
		name     string
		change   func(*Options)
		headers  []string
		want     string
		insecure bool
	}{
		{"lax", func(o *Options) { o.CookieSameSite = http.SameSiteLaxMode }, nil, "; Path=/v1; Max-Age=3600; HttpOnly; Secure; SameSite=Lax", false},
		{"none", func(o *Options) { o.CookieSameSite = http.SameSiteNoneMode }, nil, "; HttpOnly; Secure; SameSite=None", false},
		{"__Host-", func(o *Options) { o.TokenCookie = "__Host-t" }, nil, "; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Strict", false},
		{"__host-", func(o *Options) { o.TokenCookie = "__host-t" }, nil, "; Path=/; ", false},
		{"plain, behind a proxy that ends TLS", nil, []string{"Host", "rt.example.com"}, "; HttpOnly; Secure; SameSite=Strict", false},
		{"plain on loopback", nil, []string{"Host", "127.0.0.1:8080"}, "; HttpOnly; Secure; SameSite=Strict", false},
		{"dev, plain on loopback", func(o *Options) { o.Dev = dev }, []string{"Host", "127.0.0.1:8080"}, "; HttpOnly; SameSite=Strict", true},
		{"dev, __Secure-", func(o *Options) { o.Dev, o.TokenCookie = dev, "__Secure-t" }, []string{"Host", "localhost"}, "; Secure; ", false},
		{"dev, none", func(o *Options) { o.Dev, o.CookieSameSite = dev, http.SameSiteNoneMode }, []string{"Host", "localhost"}, "; Secure; ", false},
	} {
		now := time.Now().Truncate(time.Second)
		s := newSite(t, func(o *Options) {
			o.Now = func() time.Time { return now }
			if tt.change != nil {
				tt.change(o)
			}
		})
		token := tokenOf(t, 0, 0)
		if strings.Contains(tt.want, "Max-Age") {
			var err error
			if token, err = signAt(now, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		r := s.do("POST", "/v1/session", "", append(tt.headers, "Authorization", "Bearer "+token)...)
		got := r.Header.Get("Set-Cookie")
		if !strings.Contains(got, tt.want) || strings.Contains(got, "Secure;") == tt.insecure {
			t.Errorf("%s: %d, cookie %q, want %q", tt.name, r.StatusCode, got, tt.want)
		}
	}
	// Where nobody needs a token, a client that asks for a session goes on.
	open := newSite(t, func(o *Options) { o.Dev, o.Open, o.Verifier = dev, true, nil })
	if r := open.do("POST", "/v1/session", "", "Host", "localhost"); r.StatusCode != 204 || len(r.Cookies()) > 0 {
		t.Errorf("open to everyone: %d, %v", r.StatusCode, r.Cookies())
	}
}
