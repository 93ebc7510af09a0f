package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"realtime-gateway/pkg/retry"
)

// script is a gateway that answers each request with the next of its answers,
// and remembers the requests.
type script struct {
	answers  []http.HandlerFunc
	requests []*http.Request
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests = append(s.requests, r)
	if len(s.requests) > len(s.answers) {
		http.Error(w, "the script is over", http.StatusGone)
		return
	}
	s.answers[len(s.requests)-1](w, r)
}

func stream(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, text)
	}
}

func problem(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// play tails channel a:b from the script and returns what was printed, the
// notices, the delays between connections and the error.
func play(t *testing.T, cursor string, answers ...http.HandlerFunc) (s *script, out, notices string, delays []time.Duration, err error) {
	t.Helper()
	s = &script{answers: answers}
	server := httptest.NewServer(s)
	defer server.Close()
	address, err := eventsURL(server.URL, []string{"a:b", "c"})
	if err != nil {
		t.Fatal(err)
	}
	var printed, noticed strings.Builder
	tail := &tail{
		url: address, token: "t0ken", cursor: cursor, client: server.Client(), out: &printed, notice: &noticed, silence: time.Minute,
		backoff: retry.Backoff{Policy: retry.Policy{Initial: time.Second, Max: time.Second}},
		wait: func(ctx context.Context, d time.Duration) error {
			delays = append(delays, d)
			return ctx.Err()
		},
	}
	err = tail.run(t.Context())
	return s, printed.String(), noticed.String(), delays, err
}

func TestTailPrintsAndContinues(t *testing.T) {
	s, out, notices, delays, err := play(t, "",
		stream("id: c0\nevent: gateway.open\ndata: {\"connection\":\"x1\",\"heartbeat\":20000}\n\n: beat\n\n"+
			"id: c1\nevent: task_created\ndata: {\"channel\":\"a:b\", \"n\":1, \"s\":\"<b>\"}\n\n"+
			"event: gateway.heartbeat\ndata: {}\n\n"+
			"id: c2\nevent: gateway.gap\ndata: {\"channel\":\"a:b\",\"reason\":\"trimmed\"}\n\n"+
			"event: gateway.error\ndata: {\"reason\":\"access_lost\"}\n\n"+
			"retry: 1500\nevent: gateway.close\ndata: {\"reason\":\"draining\",\"reconnect\":true,\"retry\":1500}\n\n"),
		// Half an event at the end is none: its id must not count either.
		stream("id: c3\ndata: not JSON\ndata: at all\n\nid: c4\nevent: x\ndata: {\"half\":"),
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		problem(403, `{"title":"Forbidden","status":403,"detail":"channel c is not\nallowed"}`),
	)
	if want := `{"id":"c1","event":"task_created","data":{"channel":"a:b","n":1,"s":"<b>"}}
{"id":"c3","event":"message","data":"not JSON\nat all"}
`; out != want {
		t.Errorf("printed\n%swant\n%s", out, want)
	}
	var cursors []string
	for _, r := range s.requests {
		cursors = append(cursors, r.Header.Get("Last-Event-ID"))
		if q := r.URL.Query()["channel"]; !slices.Equal(q, []string{"a:b", "c"}) || r.URL.Path != "/v1/events" ||
			r.Header.Get("Authorization") != "Bearer t0ken" || r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("request is %v with %v", r.URL, r.Header)
		}
	}
	if want := []string{"", "c2", "c3", "c3"}; !slices.Equal(cursors, want) {
		t.Errorf("cursors are %q, want %q", cursors, want)
	}
	var refused *refusal
	if !errors.As(err, &refused) || oneLine(err.Error()) != "403 Forbidden: channel c is not; allowed" {
		t.Errorf("error is %v", err)
	}
	if len(delays) != 3 || delays[0] != 1500*time.Millisecond || delays[1] <= 0 || delays[1] > time.Second {
		t.Errorf("delays are %v", delays)
	}
	for _, want := range []string{
		"tail: connected, connection x1\n", "tail: gap: {\"channel\":\"a:b\",\"reason\":\"trimmed\"}\n", "tail: error: {\"reason\":\"access_lost\"}\n",
		"tail: close: {\"reason\":\"draining\"", "tail: reconnecting in 1.5s: the gateway closed the stream: draining\n", ": 502 Bad Gateway\n",
		"tail: stopped; to continue, add --last-event-id c3\n",
	} {
		if !strings.Contains(notices, want) {
			t.Errorf("notices lack %q:\n%s", want, notices)
		}
	}
}

func TestTailIsRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"detail", problem(401, `{"title":"Unauthorized","detail":"the token has expired"}`), "401 Unauthorized: the token has expired"},
		{"title", problem(400, `{"title":"Bad cursor"}`), "400 Bad Request: Bad cursor"},
		{"broken problem", problem(404, `{`), "404 Not Found"},
		{"no stream", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, `the answer is "text/html" and no event stream: is this a gateway?`},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "204 No Content"},
		{"closed for good", stream("event: gateway.close\ndata: {\"reason\":\"logout\",\"reconnect\":false}\n\n"), "the gateway closed the stream for good: logout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _, _, delays, err := play(t, "start", test.answer)
			if err == nil || err.Error() != test.want || len(delays) > 0 {
				t.Errorf("error is %v after %d delays, want %s", err, len(delays), test.want)
			}
			if got := s.requests[0].Header.Get("Last-Event-ID"); got != "start" {
				t.Errorf("cursor is %q", got)
			}
		})
	}
}

// The cursor given at the start counts until there is another one.
func TestTailKeepsFirstCursor(t *testing.T) {
	s, _, _, _, _ := play(t, "start", problem(503, `{}`), stream(": nothing\n\n"), problem(404, `{}`))
	for i, r := range s.requests {
		if got := r.Header.Get("Last-Event-ID"); got != "start" {
			t.Errorf("request %d has the cursor %q", i, got)
		}
	}
}

func TestTailPrintsLargeEvents(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	_, out, _, _, _ := play(t, "", stream("data: \""+large+"\"\n\n"))
	if !strings.Contains(out, large) {
		t.Errorf("printed %d bytes", len(out))
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestTailEndsWhenNobodyReads(t *testing.T) {
	server := httptest.NewServer(&script{answers: []http.HandlerFunc{stream("data: {}\n\n"), stream("")}})
	defer server.Close()
	var errOut strings.Builder
	if code := run(t.Context(), []string{"tail", "a", "--url", server.URL}, nil, brokenWriter{}, &errOut); code != exitFailure || !strings.Contains(errOut.String(), "gateway: write the event: broken pipe\n") {
		t.Errorf("exit %d: %s", code, &errOut)
	}
}

// writerFunc is a writer that is a function.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// An interrupt ends an open stream with exit code 0, and where to go on.
func TestTailIsInterrupted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stream("id: c1\ndata: {}\n\n")(w, r)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	out := writerFunc(func(p []byte) (int, error) { interrupt(); return len(p), nil })
	var errOut strings.Builder
	env := []string{"GATEWAY_URL=" + server.URL}
	if code := run(ctx, []string{"tail", "a"}, env, out, &errOut); code != exitOK || errOut.String() != "tail: stopped; to continue, add --last-event-id c1\n" {
		t.Errorf("exit %d: %s", code, &errOut)
	}
}

func TestTailFromACommandLineIsRefused(t *testing.T) {
	server := httptest.NewServer(problem(401, `{"detail":"no token"}`))
	defer server.Close()
	execute(t, nil, "tail", "a", "--url", server.URL).wantError(t, exitFailure, "gateway: 401 Unauthorized: no token\n")
}

// silentTransport answers with a stream that says one thing and then nothing.
type silentTransport struct{ text string }

func (s silentTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	body := struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader(s.text), untilDone{r.Context()}), io.NopCloser(nil)}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: body, Request: r}, nil
}

type untilDone struct{ ctx context.Context }

func (u untilDone) Read([]byte) (int, error) { <-u.ctx.Done(); return 0, u.ctx.Err() }

func TestTailLeavesASilentStream(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       time.Duration
	}{
		{"before it opened", "", firstSilence},
		{"after its heartbeat is known", "event: gateway.open\ndata: {\"heartbeat\":5000}\n\n", missedHeartbeats * 5 * time.Second},
		{"an absurd heartbeat does not count", "event: gateway.open\ndata: {\"heartbeat\":99999999999999}\n\n", firstSilence},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tail := &tail{url: "http://gateway", client: &http.Client{Transport: silentTransport{test.text}}, out: io.Discard, notice: io.Discard, silence: firstSilence}
				begin := time.Now()
				_, err := tail.stream(t.Context())
				if !errors.Is(err, errSilent) || time.Since(begin) != test.want {
					t.Errorf("left after %v because %v, want %v", time.Since(begin), err, test.want)
				}
			})
		})
	}
}
