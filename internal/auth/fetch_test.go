package auth

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestJWKSWithoutTLSIsWarnedOf(t *testing.T) {
	for address, want := range map[string]int{
		"http://id.example/keys": 1, "https://id.example/keys": 0, "http://localhost:1/keys": 0, "http://127.0.0.1/": 0, "http://[::1]:2/": 0,
	} {
		var log logs
		if _, err := newRemoteKeys(address, nil, log.logger()); err != nil {
			t.Error(err)
		}
		wantLog(t, &log, "level=WARN", want)
	}
}

func TestJWKSRedirects(t *testing.T) {
	request := func(address string) *http.Request { return httptest.NewRequest(http.MethodGet, address, nil) }
	check := newClient().CheckRedirect
	secure, open := request("https://id.example/keys"), request("http://id.example/keys")
	if check(secure, []*http.Request{secure}) != nil || check(secure, []*http.Request{open}) != nil || check(open, []*http.Request{open}) != nil {
		t.Error("an ordinary redirect is refused")
	}
	if check(open, []*http.Request{secure}) == nil {
		t.Error("a redirect from https to http is followed")
	}
	if check(secure, []*http.Request{secure, secure, secure}) == nil {
		t.Error("redirects are followed without end")
	}
}
