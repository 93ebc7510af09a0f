package integration_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

func TestStreamHeaders(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	s := open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Header: http.Header{"Accept-Encoding": {"gzip, deflate, br, zstd"}}})
	for name, want := range map[string][]string{
		"Content-Type":      {"text/event-stream; charset=utf-8"},
		"Cache-Control":     {"no-store", "no-transform"},
		"X-Accel-Buffering": {"no"},
	} {
		for _, part := range want {
			if got := strings.Join(s.Header.Values(name), ","); !strings.Contains(got, part) {
				t.Errorf("%s: %q, want %q", name, got, part)
			}
		}
	}
	for _, name := range []string{"Content-Length", "Content-Encoding", "Expire", "Etag"} {
		if got := s.Header.Get(name); got != "" {
			t.Errorf("%s: %q, want none", name, got)
		}
	}
	if s.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		t.Errorf("Content-Type %q", s.Header.Get("Content-Type"))
	}
	count(t, f, ch, 1, 1)
	waitNumber(t, s, ch, 1)
	if raw := s.Raw.String(); !strings.Contains(raw, "event: gateway.open\n") || !strings.Contains(raw, "\nretry: ") && !strings.HasPrefix(raw, "retry: ") || strings.Contains(raw, "\r") {
		t.Errorf("the stream's bytes: %q", raw)
	}
	if len(s.Now().Retries) == 0 {
		t.Error("no retry field")
	}
}

func TestOpenEvent(t *testing.T) {
	t.Parallel()
	f := shared(t)
	a, b := channel("hist"), channel("live")
	count(t, f, a, 1, 2)
	first, second := open(t, f.url(0), on(a, b)), open(t, f.url(0), on(a, b))
	e := first.Now().Events[0]
	opened := object(t, e.Data)
	if id, _ := opened["connection"].(string); id == "" || id == object(t, second.Now().Events[0].Data)["connection"] {
		t.Errorf("connection is not a name of its own: %s", e.Data)
	}
	if opened["channels"] == nil || !strings.Contains(e.Data, a) || !strings.Contains(e.Data, b) {
		t.Errorf("no channels: %s", e.Data)
	}
	if e.Heartbeat == nil || *e.Heartbeat != 20000 {
		t.Errorf("heartbeat is not 20000: %s", e.Data)
	}
	if e.ID == "" || strings.ContainsAny(e.ID, " \t") {
		t.Errorf("id %q is no cursor", e.ID)
	}
}

func TestHeartbeats(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, flags: []string{"--heartbeat", "1s"}})
	ch := channel("hist")
	start := time.Now()
	comments := open(t, f.url(0), on(ch))
	asEvents := open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Query: url.Values{"heartbeat": {"event"}}})
	byPost := open(t, f.url(0), harness.Subscribe{Body: map[string]any{"channel": []string{ch}, "heartbeat": "event"}})
	if hb := comments.Now().Events[0].Heartbeat; hb == nil || *hb != 1000 {
		t.Errorf("gateway.open does not say heartbeat 1000: %s", comments.Now().Events[0].Data)
	}
	wait(t, comments, "3 heartbeats", func(v harness.View) bool { return v.Comments >= 3 })
	// At most 20 % early.
	if took := time.Since(start); took < 2400*time.Millisecond {
		t.Errorf("3 heartbeats within %v", took)
	}
	if n := len(comments.Now().Events); n != 1 {
		t.Errorf("%d events besides gateway.open", n-1)
	}
	for _, s := range []*harness.Stream{asEvents, byPost} {
		wait(t, s, "3 heartbeats", func(v harness.View) bool { return len(v.Named("gateway.heartbeat")) >= 3 })
	}
	// A busy stream needs none.
	before := comments.Now().Comments
	for n := 1; n <= 20; n++ {
		fcall(t, f, ch, harness.Counted(n))
		waitNumber(t, comments, ch, n)
		must(t, harness.Holds(100*time.Millisecond, func() error { return nil }))
	}
	if n := comments.Now().Comments - before; n > 1 {
		t.Errorf("%d heartbeats within 2 s of ten events each", n)
	}
	wantNumbers(t, comments.Now().Of(ch), 1, 20)
	// A heartbeat moves no cursor.
	waitNumber(t, asEvents, ch, 20)
	wait(t, asEvents, "a heartbeat after the events", func(v harness.View) bool { return v.Events[len(v.Events)-1].Name == "gateway.heartbeat" })
	asEvents.Close()
	count(t, f, ch, 21, 22)
	again := open(t, f.url(0), from(asEvents.Now().Cursor, ch))
	waitNumber(t, again, ch, 22)
	wantNumbers(t, again.Now().Of(ch), 21, 22)
}

// Operations have their own port, and only there.
func TestOperationsPort(t *testing.T) {
	t.Parallel()
	f := shared(t)
	g := f.replicas[0]
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		status, body, err := g.Ops(path)
		if err != nil || status != http.StatusOK {
			t.Errorf("%s on the operations port: %d %s (%v), want 200", path, status, body, err)
		}
		if a := ask(t, http.MethodGet, g.URL()+path, "", ""); a.status == http.StatusOK {
			t.Errorf("%s is served on the public port", path)
		}
	}
	if status, _, err := g.Ops("/debug/pprof/"); err != nil || status == http.StatusOK {
		t.Errorf("/debug/pprof/: %d (%v), want it off", status, err)
	}
}
