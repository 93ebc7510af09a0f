package integration_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// Each user and each address has as much as the settings say, of streams on
// either path, and what is beyond is told so, and counted.
func TestLimits(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"auto", "goroutine"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{replicas: 1, flags: []string{
				"--stream-path", path, "--max-connections", "6", "--max-connections-per-user", "1", "--max-connections-per-address", "2",
				"--max-publish-rate-per-user", "1", "--trusted-proxies", "127.0.0.1",
			}})
			ch := "members:limits:x"
			from := func(user, address string) harness.Subscribe {
				h := http.Header{"X-Forwarded-For": {address}}
				if user != "" {
					h.Set("Authorization", "Bearer "+harness.Token{Sub: user, Publish: []string{"**"}}.Sign())
				}
				return harness.Subscribe{Channels: []string{ch}, Header: h}
			}
			nobody := func(address string) harness.Subscribe {
				sub := from("", address)
				sub.Channels = []string{"hist:limits"}
				return sub
			}
			alice := open(t, f.url(0), from("alice", "192.0.2.1"))
			wantLimited(t, f, from("alice", "192.0.2.2"), "limit", "user_connections")
			bob := open(t, f.url(0), from("bob", "192.0.2.1"))
			wantLimited(t, f, nobody("192.0.2.1"), "limit", "address_connections")
			for _, address := range []string{"192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"} {
				open(t, f.url(0), nobody(address))
			}
			wantLimited(t, f, nobody("2001:db8::3"), "limit", "address_connections")
			wantLimited(t, f, nobody("192.0.2.4"), "full", "")
			stillOpen(t, alice, bob)
			alice.Close()
			wantMetric(t, f.replicas[0], "gateway_connections", "5")
			open(t, f.url(0), from("alice", "192.0.2.1"))

			token := harness.Token{Sub: "carol", Publish: []string{"**"}}.Sign()
			limited := answer{}
			for range 1000 { // one a second, and 20 at once
				if limited = ask(t, http.MethodPost, of(f.url(0), ch), token, harness.Counted(1)); limited.status != http.StatusOK {
					break
				}
			}
			wantProblem(t, limited, http.StatusTooManyRequests)
			if !strings.Contains(limited.body, `"limit":"user_publish_rate"`) || limited.header.Get("Retry-After") == "" {
				t.Errorf("answered %v %s", limited.header, limited.body)
			}
			poll := f.url(0) + "/v1/events?" + url.Values{"channel": {ch}, "mode": {"poll"}}.Encode()
			bobs := harness.Token{Sub: "bob"}.Sign()
			wantProblem(t, ask(t, http.MethodGet, poll, bobs, ""), http.StatusTooManyRequests)
			for name, value := range map[string]string{
				"user_connections": "2", "address_connections": "2", "replica_connections": "1", "user_publish_rate": "1",
			} {
				wantMetric(t, f.replicas[0], `gateway_limited_total{limit="`+name+`"}`, value)
			}
		})
	}
}

// wantLimited checks that a stream is refused for now, for this reason.
func wantLimited(t *testing.T, f *fixture, sub harness.Subscribe, reason, limit string) {
	t.Helper()
	closes := waitEnd(t, connect(t, f.url(0), sub), harness.Deadline).Named("gateway.close")
	if len(closes) != 1 || closes[0].Reason != reason || strings.Contains(closes[0].Data, `"limit":"`+limit+`"`) != (limit != "") {
		t.Errorf("closed with %+v, want reason %s and limit %q", closes, reason, limit)
	}
}
