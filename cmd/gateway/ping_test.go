package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2/server"
)

// A ping is published once the stream is open, and not before, and its own
// event ends the wait: another one does not.
func TestPing(t *testing.T) {
	published := make(chan struct{}, 1)
	redis, calls := functions(t, func(c *server.Peer) { c.WriteBulk("1700000000000-3"); published <- struct{}{} })
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer t0ken" {
			t.Errorf("Authorization is %q", got)
		}
		if len(*calls) > 0 {
			t.Error("it was published before the stream was open")
		}
		stream("event: gateway.open\ndata: {\"connection\":\"x1\",\"heartbeat\":20000}\n\n")(w, r)
		w.(http.Flusher).Flush()
		<-published
		id := (*calls)[0][5]
		fmt.Fprintf(w, "id: c1\nevent: ping\ndata: {\"event_id\":\"other\"}\n\nid: c2\ndata: [1]\n\nid: c3\nevent: ping\ndata: {\"event_id\":%q}\n\n", id)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer gateway.Close()
	out := execute(t, []string{"GATEWAY_REDIS_URL=" + redis, "GATEWAY_URL=" + gateway.URL, "GATEWAY_TOKEN=t0ken"}, "ping", "a:b", "--timeout", "20s").must(t)
	if !regexp.MustCompile(`^a:b: received after \S+s\n$`).MatchString(out) {
		t.Errorf("printed %q", out)
	}
	if got := (*calls)[0]; strings.Join(got[:5], " ") != `gateway_publish 1 gw:a:b {"type":"ping"} EVENTID` || strings.Join(got[6:], " ") != "TTL 20000" {
		t.Errorf("called %q", got)
	}
}

func TestPingFails(t *testing.T) {
	redis, _ := functions(t, func(c *server.Peer) { c.WriteBulk("1-1") })
	refusing, _ := functions(t, func(c *server.Peer) { c.WriteError("ERR gateway: no") })
	for _, test := range []struct {
		name, redis string
		answer      http.HandlerFunc
		want        string
	}{
		{"refused", redis, problem(403, `{"detail":"channel a is not allowed"}`), "gateway: 403 Forbidden: channel a is not allowed\n"},
		{"not published", refusing, stream("event: gateway.open\ndata: {}\n\n"), "refused"},
		{"no stream", redis, problem(503, `{}`), "no stream was opened within 1s: reconnecting in "},
		{"no event", redis, func(w http.ResponseWriter, r *http.Request) {
			stream("event: gateway.open\ndata: {\"connection\":\"x1\"}\n\nevent: gateway.error\ndata: {\"channel\":\"a\"}\n\n")(w, r)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, `the event was published, and not received within 1s: error: {"channel":"a"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			gateway := httptest.NewServer(test.answer)
			defer gateway.Close()
			execute(t, nil, "ping", "a", "--url", gateway.URL, "--redis-url", test.redis, "--timeout", "1s").wantError(t, exitFailure, test.want)
		})
	}
	execute(t, nil, "ping", "a").wantError(t, exitUsage, "there is no Redis to call")
	execute(t, nil, "ping", "a::b", "--redis-url", redis).wantError(t, exitUsage, "a::b")
}
