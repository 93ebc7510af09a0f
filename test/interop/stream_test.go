package interop_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// Two channels on one connection, each in order.
func TestTwoChannels(t *testing.T) {
	f := start(t, 2)
	each(t, func(t *testing.T, c client) {
		a, b := "private:a:"+c.name, "private:b:"+c.name
		s := c.subscribe(t, c.with(may("alice", a, b), on(f.balancer.URL(), a, b)))
		opened(t, s, 1)
		f.count(t, 1, 200, a, b)
		wantAll(t, s, a, 1, 200)
		wantAll(t, s, b, 1, 200)
	})
}

// One replica leaves in order, the other one is killed, while events are
// published. Nothing is lost and nothing comes twice.
func TestReplicasLeave(t *testing.T) {
	f := start(t, 2, "--drain-time", "1s")
	first, second := f.replicas[0], f.replicas[1]
	// All begin at the first.
	must(t, second.Kill())
	a, b := "private:a", "private:b"
	sessions := map[client]*session{}
	for _, c := range []client{chromium, eventSource, fetchEventSource, goSSE, r3labs, launchDarkly} {
		sessions[c] = c.subscribe(t, c.with(may("alice", a, b), on(f.balancer.URL(), a, b)))
	}
	for _, s := range sessions {
		opened(t, s, 1)
	}
	must(t, second.Start())
	must(t, second.WaitReady())
	f.taken(t, second)

	p := harness.StartPublisher(f.redis.DB, harness.ByFunction, 50*time.Millisecond, a, b)
	must(t, p.More(5))
	if code, err := first.Process().Terminate(); err != nil || code != 0 {
		t.Errorf("the first replica left with %d, %v", code, err)
	}
	for _, s := range sessions {
		opened(t, s, 2)
	}
	must(t, first.Start())
	must(t, first.WaitReady())
	f.taken(t, first)
	must(t, second.Kill())
	for _, s := range sessions {
		opened(t, s, 3)
	}
	must(t, p.More(5))
	last, err := p.Stop()
	must(t, err)
	for c, s := range sessions {
		t.Run(c.name, func(t *testing.T) {
			wantAll(t, s, a, 1, last)
			wantAll(t, s, b, 1, last)
			closes := s.Now().Named("gateway.close")
			if len(closes) == 0 {
				t.Error("it did not hear why the first replica closed its stream")
			}
			// More than one, where the balancer was slow to notice.
			for _, e := range closes {
				if e.Reason != "draining" || e.Reconnect == nil || !*e.Reconnect {
					t.Errorf("it heard %s", e.Data)
				}
			}
		})
	}
}

// What is in an event arrives as it was published: large, of several lines, of
// any script. No client needs more for it than the size of its buffer.
func TestPayloads(t *testing.T) {
	f := start(t, 1)
	texts := map[string]string{
		"several lines": "one\ntwo\r\nthree\rfour\n\n: five\ndata: six\nid: 7\n",
		"scripts":       "Grüße, 世界, \u2028\u2029\u0085\ufeff, \U0001F469\u200D\U0001F4BB \U0001F1E9\U0001F1EA",
		"60 KB":         strings.Repeat("0123456789 äöü \U0001F680\n", 60<<10/24),
		"200 KB":        strings.Repeat("x", 200<<10),
		"controls":      strings.Repeat("\x01", 40<<10), // six times that as JSON
	}
	each(t, func(t *testing.T, c client) {
		ch := "public:payloads:" + c.name
		s := c.subscribe(t, on(f.balancer.URL(), ch))
		opened(t, s, 1)
		for name, text := range texts {
			before := len(s.Now().Published(ch))
			object, err := json.Marshal(map[string]string{"type": "note", "data": text})
			must(t, err)
			for _, payload := range []string{string(object), text} {
				f.publish(t, ch, payload)
			}
			v := wait(t, s, name, func(v harness.View) bool { return len(v.Published(ch)) == before+2 })
			for i, want := range []string{"note", "message"} {
				e := v.Published(ch)[before+i]
				var got struct{ Data string }
				if err := json.Unmarshal([]byte(e.Data), &got); err != nil || e.Name != want || got.Data != text {
					t.Errorf("%s, published as %s, arrived as %s (%v) %.300s", name, want, e.Name, err, e.Data)
				}
			}
		}
		if n := len(s.Now().Named("gateway.open")); n != 1 {
			t.Errorf("it took %d streams", n)
		}
	})
}

// A heartbeat is nothing to a client, unless it asks for events.
func TestHeartbeats(t *testing.T) {
	f := start(t, 1, "--heartbeat", "1s")
	each(t, func(t *testing.T, c client) {
		ch := "public:heartbeats:" + c.name
		comments := c.subscribe(t, on(f.balancer.URL(), ch))
		asks := on(f.balancer.URL(), ch)
		asks.URL += "&heartbeat=event"
		events := c.subscribe(t, asks)
		opened(t, comments, 1)
		v := wait(t, events, "heartbeats", func(v harness.View) bool { return len(v.Named("gateway.heartbeat")) >= 3 })
		if n := len(v.Named("gateway.open")); n != 1 {
			t.Errorf("with heartbeats as events it took %d streams", n)
		}
		f.count(t, 1, 1, ch)
		v = waitNumber(t, comments, ch, 1)
		if len(v.Events) != 2 || v.Events[0].Name != "gateway.open" {
			t.Errorf("between heartbeats it heard %s, want gateway.open and an event", v)
		}
	})
}

// A cursor that is too old brings a gap, once: on the way back the client's own
// Last-Event-ID wins over the cursor in the URL.
func TestGap(t *testing.T) {
	t.Parallel()
	f := start(t, 2)
	each(t, func(t *testing.T, c client) {
		ch := "few:" + c.name
		away, err := harness.Open(f.replicas[0].URL(), harness.Subscribe{Channels: []string{ch}})
		must(t, err)
		_, err = away.Wait("the beginning", harness.Deadline, func(v harness.View) bool { return v.Cursor != "" })
		away.Close()
		must(t, err)
		f.count(t, 1, 20, ch)
		front := newFront(t, f.replicas[1])
		old := on(front.URL, ch)
		old.URL += "&lastEventId=" + away.Now().Cursor
		s := c.subscribe(t, old)
		v := waitNumber(t, s, ch, 20)
		told := v.Of(ch)
		if told[0].Name != "gateway.gap" || told[0].Reason != "trimmed" {
			t.Fatalf("want a gap first: %s", v)
		}
		for n := 21; n <= 23; n++ {
			front.CloseClientConnections()
			opened(t, s, n-19)
			f.count(t, n, n, ch)
			v = waitNumber(t, s, ch, n)
		}
		if err := harness.InOrder(v.Of(ch)[1:], 16, 23); err != nil {
			t.Error(err)
		}
		asked := front.asked()
		for _, r := range asked[len(asked)-3:] {
			if r.Header.Get("Last-Event-ID") == "" {
				t.Errorf("it came back with %v", r.Header)
			}
		}
	})
}
