package load

import (
	"testing"
)

func TestRequest(t *testing.T) {
	r, err := newRequest(ClientOptions{URL: "http://127.0.0.1:8080/v1/events?channel={channel}&x=1", Token: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	const head = "GET /v1/events?channel=a:b&x=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: text/event-stream\r\nAuthorization: Bearer abc\r\n"
	if got := string(r.append(nil, "a:b", nil)); got != head+"\r\n" {
		t.Errorf("%q", got)
	}
	if got := string(r.append(nil, "a:b", []byte("id"))); got != head+"Last-Event-ID: id\r\n\r\n" {
		t.Errorf("%q", got)
	}
	for _, url := range []string{"", "https://127.0.0.1:1/{channel}", "http://example.org/{channel}", "http://[::1]:80/{channel}", "http://127.0.0.1:80/x"} {
		if _, err := newRequest(ClientOptions{URL: url}); err == nil {
			t.Errorf("%q is accepted", url)
		}
	}
}

func TestPlansThatMakeNoSense(t *testing.T) {
	for name, p := range map[string]Plan{
		"nothing":         {},
		"uneven channels": {Streams: 10, Channels: 3},
		"a quiet storm":   {Streams: 10, Channels: 10, Storm: true},
	} {
		if _, err := Run(t.Context(), p); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
