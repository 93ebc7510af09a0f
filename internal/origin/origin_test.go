package origin

import (
	"strings"
	"testing"
)

func TestAllows(t *testing.T) {
	for _, tt := range []struct {
		pattern    string
		yes, never []string
	}{
		{"https://app.example.com", []string{"https://app.example.com"}, []string{
			"http://app.example.com", "https://example.com", "https://x.app.example.com", "https://app.example.com:8443",
			"https://app.example.com.evil.example", "https://app.example.com/", "https://evil.example/https://app.example.com", "null", "",
		}},
		{"HTTPS://App.Example.com:443", []string{"https://app.example.com"}, []string{"https://app.example.com:443"}},
		{"http://localhost:3000", []string{"http://localhost:3000"}, []string{"http://localhost", "http://localhost:30000", "https://localhost:3000"}},
		{"http://[::1]:3000", []string{"http://[::1]:3000"}, []string{"http://[::1]"}},
		{"https://*.example.com", []string{"https://a.example.com", "https://a.b-c.example.com", "https://xn--bcher-kva.example.com"}, []string{
			"https://example.com", "https://.example.com", "https://evilexample.com", "https://a.example.com:1", "http://a.example.com",
			"https://evil.example#.example.com", "https://evil.example/.example.com", "https://evil.example?.example.com",
			"https://a@b.example.com", "https://evil.example:1.example.com", "https://a..example.com", "https://a.example.com.evil.example",
			"https://*.example.com", "https://a\x00.example.com", "https://" + strings.Repeat("a.", 200) + "example.com",
		}},
		{"https://*.example.com:8443", []string{"https://a.example.com:8443"}, []string{"https://a.example.com"}},
		{"http://*.localhost:3000", []string{"http://a.localhost:3000"}, []string{"http://localhost:3000"}},
	} {
		l, err := ParseList([]string{"https://other.example", tt.pattern})
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		for _, o := range tt.yes {
			if !l.Allows(o) {
				t.Errorf("%s does not allow %q", tt.pattern, o)
			}
		}
		for _, o := range tt.never {
			if l.Allows(o) {
				t.Errorf("%s allows %q", tt.pattern, o)
			}
		}
	}
	if List(nil).Allows("https://a.example") || List(nil).Allows("") {
		t.Error("an empty list allows something")
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"*": "cookies of their visitors", "https://*": "cookies of their visitors", "http://*": "cookies of their visitors",
		"null": "sandboxed", "": "https://", "app.example.com": "https://", "ftp://a.example": "https://", "//a.example": "https://",
		"https://": "no host", "https://a.example/": "more than", "https://a.example/x": "more than", "https://u@a.example": "more than",
		"https://a.example?x": "more than", "https://a.example#x": "more than", "https://a.*.example": "no host", "https://*a.example": "no host",
		"https://*.com": "top-level", "https://*.": "no host", "https://a.example:": "port", "https://a.example:0": "port",
		"https://a.example:99999": "port", "https://a.example:080": "port", "https://*:8443": "no host", "https://bücher.example": "xn--",
		"https://[::1": "address", "https://[x]": "address", "https://*.10.0.0.1": "address", "https://a b": "no host",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost:80": true, "127.0.0.1": true, "127.9.9.9:1": true, "[::1]": true, "[::1]:1": true, "::1": true, "[::ffff:127.0.0.1]:1": true,
		"": false, ":80": false, "0.0.0.0:1": false, "[::]:1": false, "127.0.0.1.evil.example": false, "localhost.evil.example:1": false, "10.0.0.1": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

func FuzzAllows(f *testing.F) {
	f.Add("https://*.example.com", "https://a.example.com")
	f.Add("https://*.example.com", "https://evil.example/.example.com")
	f.Fuzz(func(t *testing.T, pattern, o string) {
		p, err := Parse(pattern)
		if err == nil && p.Match(o) {
			if scheme, host := HostOf(o); host == "" || scheme == "" || !strings.HasSuffix(host, p.host) {
				t.Errorf("%q matches %q, which is no origin", pattern, o)
			}
		}
	})
}
