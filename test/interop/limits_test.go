package interop_test

import (
	"fmt"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// These show what a client does by itself that has to be known, which is why
// goclients and web use it otherwise.

// bare subscribes with nothing set.
func (c client) bare(t *testing.T, s spec) *session {
	t.Helper()
	s.Bare = true
	return c.subscribe(t, s)
}

// A stream that ends in order, as in a drain, is the end for some.
func TestBareClientsEndWithTheStream(t *testing.T) {
	f := start(t, 1, "--drain-time", "1s")
	sessions := map[client]*session{}
	for _, c := range []client{r3labs, fetchEventSource} {
		sessions[c] = c.bare(t, on(f.replicas[0].URL(), "public:end"))
	}
	for _, s := range sessions {
		opened(t, s, 1)
	}
	_, err := f.replicas[0].Process().Terminate()
	must(t, err)
	for c, s := range sessions {
		if v := stopped(t, s); len(v.Named("gateway.close")) != 1 {
			t.Errorf("%s heard %s", c.name, v)
		}
	}
}

// What is refused for good is asked for by some for ever.
func TestBareClientsRepeatWhatIsRefused(t *testing.T) {
	f := start(t, 1)
	each(t, func(t *testing.T, c client) {
		front := newFront(t, f.replicas[0])
		s := c.bare(t, on(front.URL, "private:refused"))
		again(t, front, 3)
		if s.Now().Ended {
			t.Error("it gave up")
		}
	}, r3labs, fetchEventSource)
}

// again waits until n requests for streams have come.
func again(t *testing.T, f *front, n int) {
	t.Helper()
	must(t, harness.Until(fmt.Sprintf("%d requests", n), patience, func() error {
		if got := len(f.asked()); got < n {
			return fmt.Errorf("%d", got)
		}
		return nil
	}))
}

// One client tries again only where it was connected before, and then also
// what is refused for good.
func TestBareLaunchDarkly(t *testing.T) {
	t.Parallel()
	f := start(t, 1)
	front := newFront(t, f.replicas[0])
	front.answerBy(503)
	stopped(t, launchDarkly.bare(t, on(front.URL, "public:first")))
	if n := len(front.asked()); n != 1 {
		t.Errorf("at the beginning it asked %d times", n)
	}

	front = newFront(t, f.replicas[0])
	s := launchDarkly.bare(t, on(front.URL, "public:later"))
	opened(t, s, 1)
	front.answerBy(401)
	front.CloseClientConnections()
	again(t, front, 3)
	if s.Now().Ended {
		t.Error("it gave up")
	}
}

// An event that is larger than a client's buffer is never read, nor what comes
// after it: the client meets it again on each of its streams.
func TestBareClientsMeetALargeEvent(t *testing.T) {
	t.Parallel()
	f := start(t, 1)
	each(t, func(t *testing.T, c client) {
		ch := "public:large:" + c.name
		front := newFront(t, f.replicas[0])
		s := c.bare(t, on(front.URL, ch))
		opened(t, s, 1)
		f.publish(t, ch, strings.Repeat("x", 60<<10))
		wait(t, s, "60 KB", func(v harness.View) bool { return len(v.Published(ch)) == 1 })
		f.publish(t, ch, strings.Repeat("x", 64<<10))
		f.count(t, 1, 1, ch)
		again(t, front, 4)
		if v := s.Now(); len(v.Published(ch)) != 1 || v.Ended {
			t.Errorf("it heard %s", v)
		}
	}, r3labs, goSSE)
}

// Comments are messages without data to one.
func TestBareFetchEventSourceHearsComments(t *testing.T) {
	f := start(t, 1, "--heartbeat", "1s")
	s := fetchEventSource.bare(t, on(f.balancer.URL(), "public:comments"))
	wait(t, s, "empty messages", func(v harness.View) bool {
		last := v.Events[max(0, len(v.Events)-1):]
		return len(v.Events) > 1 && last[0].Name == "" && last[0].Data == ""
	})
}

// An event of type error is one of EventSource's own errors to a page: the
// stream goes on, and onerror is called.
func TestEventOfTypeError(t *testing.T) {
	f := start(t, 1)
	s := chromium.subscribe(t, on(f.balancer.URL(), "public:error"))
	opened(t, s, 1)
	f.publish(t, "public:error", `{"type":"error"}`)
	f.count(t, 1, 1, "public:error")
	v := waitNumber(t, s, "public:error", 1)
	if s.errors.Len() == 0 || len(v.Named("gateway.open")) != 1 {
		t.Errorf("it heard %s", v)
	}
}
