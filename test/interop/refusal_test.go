package interop_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// Who is over a limit is told so by a stream, and comes back by itself.
func TestTemporaryRefusal(t *testing.T) {
	t.Parallel()
	f := start(t, 1, "--max-connections-per-user", "1", "--heartbeat", "1s") // behind a balancer a client that left is noticed by a heartbeat
	each(t, func(t *testing.T, c client) {
		ch := "private:limit:" + c.name
		token := may(c.name, ch)
		holder, err := harness.Open(f.balancer.URL(), harness.Subscribe{Channels: []string{ch}, Header: http.Header{"Authorization": {"Bearer " + token}}})
		must(t, err)
		defer holder.Close()
		_, err = holder.Wait("the beginning", harness.Deadline, func(v harness.View) bool { return len(v.Events) > 0 })
		must(t, err)
		s := c.subscribe(t, c.with(token, on(f.balancer.URL(), ch)))
		v := wait(t, s, "the refusal", func(v harness.View) bool { return len(v.Events) > 0 })
		if e := v.Events[0]; e.Name != "gateway.close" || e.Reason != "limit" {
			t.Fatalf("want gateway.close first: %s", v)
		}
		holder.Close()
		opened(t, s, 1)
		f.count(t, 1, 3, ch)
		wantAll(t, s, ch, 1, 3)
	})
}

// What is refused for good is not asked for again.
func TestPermanentRefusal(t *testing.T) {
	f := start(t, 1)
	each(t, func(t *testing.T, c client) {
		for name, token := range map[string]string{
			"401": harness.Token{Sub: "alice", Subscribe: []string{"private:**"}, Secret: "another secret, of which the gateway knows nothing"}.Sign(),
			"403": may("alice", "private:other"),
		} {
			front := newFront(t, f.replicas[0])
			refused := on(front.URL, "private:refused")
			refused.URL += "&token=" + token
			s := c.subscribe(t, refused)
			if v := stopped(t, s); len(v.Events) > 0 {
				t.Errorf("%s: it heard %s", name, v)
			}
			if n := len(front.asked()); n != 1 {
				t.Errorf("%s: it asked %d times", name, n)
			}
		}
	})
}

// A user who is signed out everywhere hears so, and the client that comes back
// all the same is refused, and stops.
func TestRevoked(t *testing.T) {
	f := start(t, 1)
	each(t, func(t *testing.T, c client) {
		ch := "private:revoked:" + c.name
		s := c.subscribe(t, c.with(may(c.name, ch), on(f.balancer.URL(), ch)))
		opened(t, s, 1)
		ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
		defer cancel()
		must(t, f.redis.DB.FCall(ctx, "gateway_disconnect", []string{"gw.user:" + c.name}, "REASON", "signed out").Err())
		v := stopped(t, s)
		closes := v.Named("gateway.close")
		if len(closes) != 1 || closes[0].Reason != "signed out" || closes[0].Reconnect == nil || *closes[0].Reconnect {
			t.Errorf("want gateway.close for good: %s", v)
		}
	})
}

// Who loses one of his channels hears so and keeps the others, until he comes
// back with the same request, which is refused.
func TestChannelLost(t *testing.T) {
	f := start(t, 1)
	each(t, func(t *testing.T, c client) {
		lost, kept := "private:lost:"+c.name, "private:kept:"+c.name
		front := newFront(t, f.replicas[0])
		s := on(front.URL, lost, kept)
		s.URL += "&token=" + may(c.name, lost, kept)
		session := c.subscribe(t, s)
		opened(t, session, 1)
		ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
		defer cancel()
		must(t, f.redis.DB.FCall(ctx, "gateway_disconnect", []string{"gw.user:" + c.name}, "CHANNEL", lost).Err())
		f.count(t, 1, 1, lost, kept)
		v := waitNumber(t, session, kept, 1)
		told := v.Named("gateway.error")
		if len(told) != 1 || told[0].Channel != lost || len(v.Published(lost)) > 0 {
			t.Errorf("want gateway.error for %s: %s", lost, v)
		}
		front.CloseClientConnections()
		stopped(t, session)
	})
}

// A token's end is the stream's, and the next token continues it where it was:
// clients that send headers take one for each attempt, a page renews its cookie.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	f := start(t, 1)
	each(t, func(t *testing.T, c client) {
		ch := "private:expires:" + c.name
		short := harness.Token{Sub: "alice", Subscribe: []string{ch}, Expires: time.Now().Add(10 * time.Second)}.Sign()
		long := may("alice", ch)
		s := on(f.balancer.URL(), ch)
		if c.browser {
			s.Session, s.Renewed = short, long
		} else {
			s.Tokens = []string{short, long}
		}
		session := c.subscribe(t, s)
		opened(t, session, 1)
		f.count(t, 1, 1, ch)
		v := wait(t, session, "the end of the token", func(v harness.View) bool { return len(v.Named("gateway.close")) > 0 })
		if e := v.Named("gateway.close")[0]; e.Reason != "token_expired" {
			t.Errorf("want token_expired: %s", v)
		}
		f.count(t, 2, 2, ch)
		opened(t, session, 2)
		f.count(t, 3, 3, ch)
		wantAll(t, session, ch, 1, 3)
	})
}

// A proxy that answers 503 by itself loses those who follow the standard of
// EventSource, and not the others.
func TestStatus503(t *testing.T) {
	t.Parallel()
	f := start(t, 1)
	each(t, func(t *testing.T, c client) {
		ch := "public:503:" + c.name
		front := newFront(t, f.replicas[0])
		s := c.subscribe(t, on(front.URL, ch))
		opened(t, s, 1)
		front.answerBy(http.StatusServiceUnavailable)
		front.CloseClientConnections()
		switch c {
		case chromium, eventSource, goSSE:
			stopped(t, s)
		default:
			again(t, front, 3)
			front.answerBy(0)
			opened(t, s, 2)
		}
	})
}

// What docs/load-balancers.md has a proxy say when no replica is there brings
// all of them back.
func TestProxyWithoutReplicas(t *testing.T) {
	t.Parallel()
	f := start(t, 1)
	each(t, func(t *testing.T, c client) {
		ch := "public:away:" + c.name
		front := newFront(t, f.replicas[0])
		s := c.subscribe(t, on(front.URL, ch))
		opened(t, s, 1)
		f.count(t, 1, 1, ch)
		waitNumber(t, s, ch, 1)
		front.answerBy(http.StatusOK)
		front.CloseClientConnections()
		again(t, front, 2)
		f.count(t, 2, 2, ch)
		front.answerBy(0)
		opened(t, s, 2)
		wantAll(t, s, ch, 1, 2)
	})
}

// Every way that a client has for its token.
func TestTokens(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
	}))
	defer page.Close()
	f := start(t, 1, "--allowed-origins", page.URL)
	token := may("alice", "private:tokens")
	plain := on(f.balancer.URL(), "private:tokens")
	query := plain
	query.URL += "&token=" + token
	header, cookie := plain, plain
	header.Tokens = []string{token}
	cookie.Header = http.Header{"Cookie": {"gateway_token=" + token}}
	try := func(name string, s spec, clients ...client) {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, c client) { opened(t, c.subscribe(t, s), 1) }, clients...)
		})
	}
	try("query", query)
	try("header", header, eventSource, fetchEventSource, goSSE, r3labs, launchDarkly)
	try("cookie", cookie, goSSE, r3labs, launchDarkly)
	session := plain
	session.Session = token
	try("session", session, chromium)
	session.Page, session.WithCredentials = page.URL, true
	try("session from another origin", session, chromium)
	session.WithCredentials = false
	t.Run("session from another origin without credentials", func(t *testing.T) { stopped(t, chromium.subscribe(t, session)) })
}
