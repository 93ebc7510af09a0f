package interop_test

import (
	"fmt"
	"net/url"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// client is one of the public clients.
type client struct {
	name    string
	host    *host
	browser bool // it sends cookies and no headers
}

var (
	chromium         = client{name: "chromium", host: browserHost, browser: true}
	eventSource      = client{name: "eventsource", host: nodeHost}
	fetchEventSource = client{name: "fetch-event-source", host: nodeHost}
	goSSE            = client{name: "go-sse", host: goHost}
	r3labs           = client{name: "r3labs", host: goHost}
	launchDarkly     = client{name: "launchdarkly", host: goHost}
)

// each runs a test for the clients side by side, for all where none is named.
func each(t *testing.T, test func(t *testing.T, c client), clients ...client) {
	if len(clients) == 0 {
		clients = []client{chromium, eventSource, fetchEventSource, goSSE, r3labs, launchDarkly}
	}
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

// on is what a client subscribes to with nothing but channels.
func on(base string, channels ...string) spec {
	return spec{URL: base + "/v1/events?" + url.Values{"channel": channels}.Encode()}
}

// with has the spec carry the token in the best way that the client knows.
func (c client) with(token string, s spec) spec {
	if c.browser {
		s.Session = token
	} else {
		s.Tokens = []string{token}
	}
	return s
}

// may is a user's token to read the channels.
func may(user string, channels ...string) string {
	return harness.Token{Sub: user, Subscribe: channels}.Sign()
}

// wait waits until a session has heard what is wanted.
func wait(t *testing.T, s *session, what string, wanted func(harness.View) bool) harness.View {
	t.Helper()
	// Who has given up hears no more.
	v, err := s.Wait(what, patience, func(v harness.View) bool { return wanted(v) || v.Ended })
	if err == nil && !wanted(v) {
		err = fmt.Errorf("%s: the client gave up before; heard %s", what, v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// opened waits until a session has had n streams.
func opened(t *testing.T, s *session, n int) {
	t.Helper()
	wait(t, s, fmt.Sprintf("%d streams", n), func(v harness.View) bool { return len(v.Named("gateway.open")) >= n })
}

// waitNumber waits for the counted event n of a channel.
func waitNumber(t *testing.T, s *session, channel string, n int) harness.View {
	t.Helper()
	return wait(t, s, fmt.Sprintf("event %d on %s", n, channel), func(v harness.View) bool {
		events := v.Published(channel)
		return len(events) > 0 && events[len(events)-1].N == n
	})
}

// stopped waits until a client has given up for good.
func stopped(t *testing.T, s *session) harness.View {
	t.Helper()
	return wait(t, s, "the client gives up", func(v harness.View) bool { return v.Ended })
}

// wantAll checks that the session heard the events first to last of a channel,
// each once and in order, and no gap.
func wantAll(t *testing.T, s *session, channel string, first, last int) {
	t.Helper()
	v := waitNumber(t, s, channel, last)
	if err := harness.InOrder(v.Of(channel), first, last); err != nil {
		t.Errorf("%s: %v", channel, err)
	}
}
