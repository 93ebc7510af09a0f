package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"realtime-gateway/pkg/channels"
)

// wantClientsFault checks that an error is a refusal that the client is told.
func wantClientsFault(t *testing.T, input string, err error) {
	t.Helper()
	var p *Problem
	if !errors.As(err, &p) || p.Status < 400 || p.Status > 499 || p.Detail == "" || len(p.Detail) > 2*maxDetail {
		t.Fatalf("%q: %v, want a problem that is the client's", input, err)
	}
	if strings.ContainsAny(p.Detail, "\r\n\x00") {
		t.Fatalf("%q: the detail is not one line: %q", input, p.Detail)
	}
}

// FuzzLastEventID checks that a cursor may be anything, and that one that is
// read gives a start for a channel, or none.
func FuzzLastEventID(f *testing.F) {
	good := string(channels.AppendCursor(nil, []channels.Mark{{Hash: channels.HashName("a"), Position: channels.Position{Millis: 1700000000000, Seq: 3}}}))
	for _, header := range []string{"", good, good[:len(good)-1], good + "A", good + "\n", "1", "2" + good[1:], "1700000000000-3", "0-0", "18446744073709551615-0", "\xff", "1\x00", "1=", "1!"} {
		f.Add(header, "")
		f.Add("", header)
		f.Add(header, good)
	}
	f.Fuzz(func(t *testing.T, header, query string) {
		r := &http.Request{
			Method: http.MethodGet, Header: http.Header{"Last-Event-Id": {header}},
			URL: &url.URL{Path: "/v1/events", RawQuery: url.Values{"channel": {"a"}, "lastEventId": {query}}.Encode()},
		}
		p, err := (&api{Options: Options{MaxChannels: 1}}).params(r)
		if err != nil {
			wantClientsFault(t, header+" "+query, err)
		} else {
			start := p.start("a", &channels.Policy{HistorySize: 1, LastN: 2})
			if start.Resume != nil && start.LastN != 0 || header == "" && query == "" && start.Resume != nil {
				t.Fatalf("%q %q: starts at %+v", header, query, start)
			}
		}
		after, err := parseAfter(header, "a")
		if err != nil {
			wantClientsFault(t, header, err)
		} else if after != nil && after.IsZero() {
			t.Fatalf("after %q is position 0-0, want the beginning", header)
		}
	})
}

// FuzzChannelPath checks that a path is taken apart the same way however it is
// spelt, and that what it names is the whole of what lies between the fixed
// parts.
func FuzzChannelPath(f *testing.F) {
	for _, target := range []string{
		"/v1/channels/a/events", "/v1/channels/a%2Fb/events", "/v1/channels/a/events/events", "/v1/channels/%2e%2e/events", "/v1/channels/../events",
		"/v1/channels/events", "/v1/channels//events", "/v1/channels/a%00/events", "/v1/channels/a%0d%0a/events", "/v1/channels/%ff/events", "/v1/channels/%/events",
		"/v1//channels/a/events", "/v1/channels/a/events?x=/events", "/v1/channels/a;b/events", "/v1/channels/a%252Fb/events", "//v1/channels/a/events",
	} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return // the HTTP server refuses it
		}
		name, err := channelPath(&http.Request{Method: http.MethodGet, URL: u})
		if err != nil {
			wantClientsFault(t, target, err)
			return
		}
		if u.Path != "/v1/channels/"+name+"/events" {
			t.Fatalf("%q names %q, but its path is %q", target, name, u.Path)
		}
		again, err := url.ParseRequestURI("/v1/channels/" + url.PathEscape(name) + "/events")
		if err != nil {
			t.Fatal(err)
		}
		if other, err := channelPath(&http.Request{Method: http.MethodGet, URL: again}); err != nil || other != name {
			t.Fatalf("%q names %q, and escaped %q (%v)", target, name, other, err)
		}
	})
}
