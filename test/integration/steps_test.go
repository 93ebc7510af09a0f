package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// open subscribes and returns once the stream has begun, which is when every
// later event must arrive.
func open(t *testing.T, base string, sub harness.Subscribe) *harness.Stream {
	t.Helper()
	s := connect(t, base, sub)
	if s.Status != http.StatusOK {
		t.Fatalf("subscribe to %q: status %d, want 200: %s", sub.Channels, s.Status, s.Problem)
	}
	if sub.Paused {
		return s
	}
	wait(t, s, "gateway.open comes first", func(v harness.View) bool { return len(v.Events) > 0 })
	if first := s.Now().Events[0]; first.Name != "gateway.open" {
		t.Fatalf("the first event is %q, want gateway.open: %s", first.Name, first.Data)
	}
	return s
}

// connect subscribes, whatever the answer is.
func connect(t *testing.T, base string, sub harness.Subscribe) *harness.Stream {
	t.Helper()
	s, err := harness.Open(base, sub)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// follow starts a client that comes back by itself, and waits for its first
// stream to begin.
func follow(t *testing.T, sub harness.Subscribe, urls ...string) *harness.Follower {
	t.Helper()
	f := harness.Follow(sub, urls...)
	t.Cleanup(f.Close)
	wait(t, f, "the follower's stream begins", func(v harness.View) bool { return len(v.Named("gateway.open")) > 0 })
	return f
}

// on subscribes to channels and nothing else.
func on(channels ...string) harness.Subscribe { return harness.Subscribe{Channels: channels} }

// listener is a stream or a follower.
type listener interface {
	Now() harness.View
	Wait(what string, limit time.Duration, wanted func(harness.View) bool) (harness.View, error)
}

func wait(t *testing.T, l listener, what string, wanted func(harness.View) bool) harness.View {
	t.Helper()
	return waitFor(t, l, harness.Deadline, what, wanted)
}

func waitFor(t *testing.T, l listener, limit time.Duration, what string, wanted func(harness.View) bool) harness.View {
	t.Helper()
	v, err := l.Wait(what, limit, wanted)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// waitCount waits for n published events of a channel.
func waitCount(t *testing.T, l listener, channel string, n int) []harness.Event {
	t.Helper()
	v := wait(t, l, fmt.Sprintf("%d events on %s", n, channel), func(v harness.View) bool { return len(v.Published(channel)) >= n })
	return v.Published(channel)
}

// waitNumber waits for the counted event n of a channel.
func waitNumber(t *testing.T, l listener, channel string, n int) harness.View {
	t.Helper()
	return wait(t, l, fmt.Sprintf("event %d on %s", n, channel), func(v harness.View) bool {
		for _, e := range v.Published(channel) {
			if e.N == n {
				return true
			}
		}
		return false
	})
}

// waitEnd waits until the server has ended the stream.
func waitEnd(t *testing.T, l listener, limit time.Duration) harness.View {
	t.Helper()
	return waitFor(t, l, limit, "the stream ends", func(v harness.View) bool { return v.Ended })
}

// fcall publishes the reliable way and returns the position.
func fcall(t *testing.T, f *fixture, channel, payload string, options ...any) string {
	t.Helper()
	position, err := tryFcall(f, channel, payload, options...)
	if err != nil {
		t.Fatalf("FCALL gateway_publish 1 gw:%s: %v", channel, err)
	}
	return position
}

func tryFcall(f *fixture, channel, payload string, options ...any) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), harness.Deadline)
	defer cancel()
	return f.db().FCall(ctx, "gateway_publish", []string{"gw:" + channel}, append([]any{payload}, options...)...).Text()
}

// publish publishes the simple way and fails when nobody listens to it.
func publish(t *testing.T, f *fixture, channel, payload string) {
	t.Helper()
	n, err := f.db().Publish(t.Context(), channel, payload).Result()
	var dial *net.OpError
	for errors.As(err, &dial) && dial.Op == "dial" && f.cluster != nil && t.Context().Err() == nil {
		// The client chose a node that is dead, so nothing was published.
		n, err = f.db().Publish(t.Context(), channel, payload).Result()
	}
	if err != nil {
		t.Fatalf("PUBLISH %s: %v", channel, err)
	}
	// In a Cluster a node counts its own subscribers only.
	if n == 0 && f.cluster == nil {
		t.Fatalf("PUBLISH %s: no replica listens, though all are ready", channel)
	}
}

// count publishes the counted events first to last.
func count(t *testing.T, f *fixture, channel string, first, last int) {
	t.Helper()
	for n := first; n <= last; n++ {
		fcall(t, f, channel, harness.Counted(n))
	}
}

// wantNumbers checks that the events are the counted ones first to last,
// each once and in order.
func wantNumbers(t *testing.T, events []harness.Event, first, last int) {
	t.Helper()
	if err := harness.InOrder(events, first, last); err != nil {
		t.Fatal(err)
	}
}

// noGaps checks that nobody was told of a gap.
func noGaps(t *testing.T, l listener) {
	t.Helper()
	if gaps := l.Now().Named("gateway.gap"); len(gaps) > 0 {
		t.Fatalf("%d gaps, want none; the first: %s", len(gaps), gaps[0].Data)
	}
}

// wantOrder checks that what was heard of the channel are the counted events
// up to last, in order and none twice, and that there is a gap before each
// hole. After a gap the event before it may come again: Redis has lost it, and
// its publisher, who had no answer, repeated it. It returns the gaps.
func wantOrder(t *testing.T, v harness.View, channel string, last int) (gaps []harness.Event) {
	t.Helper()
	before, gapped := 0, false
	heard := v.Of(channel)
	for i, e := range heard {
		if e.Own() {
			gapped = true
			gaps = append(gaps, e)
			continue
		}
		if e.N < before || e.N == before && !gapped || e.N > before+1 && !gapped {
			t.Fatalf("event %d came after event %d: %s", e.N, before, harness.View{Events: heard[max(0, i-3):min(i+4, len(heard))]})
		}
		before, gapped = e.N, false
	}
	if before != last {
		t.Fatalf("the last event is %d, want %d: %s", before, last, v)
	}
	return gaps
}

// ready waits until all replicas are.
func ready(t *testing.T, f *fixture) {
	t.Helper()
	for _, g := range f.replicas {
		must(t, g.WaitReady())
	}
}

// wantGap checks that what was heard of the channel is exactly one gap and
// then the counted events first to last.
func wantGap(t *testing.T, v harness.View, channel string, first, last int) harness.Event {
	t.Helper()
	heard := v.Of(channel)
	if len(heard) == 0 || heard[0].Name != "gateway.gap" {
		t.Fatalf("no gap before the next event; heard %s", v)
	}
	wantNumbers(t, heard[1:], first, last)
	gap := heard[0]
	if gap.Reason == "" || gap.From == nil || gap.To == nil {
		t.Errorf("the gap lacks reason, from or to: %s", gap.Data)
	}
	return gap
}

// outlive waits until the event at position is older than age, by Redis' clock.
func outlive(t *testing.T, f *fixture, position string, age time.Duration) {
	t.Helper()
	born := positionTime(t, position)
	err := harness.Until("time passes", age+harness.Deadline, func() error {
		now, err := f.db().Time(t.Context()).Result()
		if err == nil && now.Sub(born) <= age {
			err = fmt.Errorf("the event is %v old", now.Sub(born))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func positionTime(t *testing.T, position string) time.Time {
	t.Helper()
	return positionOf(t, position).Time()
}

func positionOf(t *testing.T, text string) harness.Position {
	t.Helper()
	p, err := harness.ParsePosition(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// answer is an ordinary HTTP answer.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request with an optional bearer token.
func ask(t *testing.T, method, target, token, body string) answer {
	t.Helper()
	a, err := tryAsk(t.Context(), method, target, token, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tryAsk(ctx context.Context, method, target, token, body string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := harness.Client.Do(req)
	if err != nil {
		return answer{}, err
	}
	return readAnswer(resp)
}

// readAnswer reads a response to its end.
func readAnswer(resp *http.Response) (answer, error) {
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

// wantProblem checks an RFC 9457 refusal.
func wantProblem(t *testing.T, a answer, status int) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %.300s", a.status, status, a.body)
	}
	if ct := a.header.Get("Content-Type"); !strings.HasPrefix(ct, "application/problem+json") {
		t.Errorf("Content-Type %q, want application/problem+json", ct)
	}
	var problem struct {
		Title  string
		Status int
		Detail string
	}
	if err := json.Unmarshal([]byte(a.body), &problem); err != nil {
		t.Fatalf("the body is not JSON: %v: %s", err, a.body)
	}
	if problem.Title == "" || problem.Status != status {
		t.Errorf("the problem has title %q and status %d, want a title and %d: %s", problem.Title, problem.Status, status, a.body)
	}
}

// events is the address of a subscription with the given query.
func events(base string, query url.Values) string { return base + "/v1/events?" + query.Encode() }

// of is the address of a channel's events, its name percent-encoded in full.
func of(base, channel string) string {
	return base + "/v1/channels/" + url.QueryEscape(channel) + "/events"
}

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unmarshal reads what it can; a shape that is wrong shows in what it lacks.
func unmarshal(text string, into any) { _ = json.Unmarshal([]byte(text), into) }
