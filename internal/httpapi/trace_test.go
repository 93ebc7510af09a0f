package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"realtime-gateway/internal/telemetry"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
)

const (
	parentTrace = "0af7651916cd43dd8448eb211c80319c"
	parentSpan  = "b7ad6b7169203331"
	sampled     = "00-" + parentTrace + "-" + parentSpan + "-01"
)

// sentEvents is a Publisher that remembers what it was given.
type sentEvents struct {
	mu       sync.Mutex
	messages []redisbus.Message
}

func (p *sentEvents) Publish(_ context.Context, m redisbus.Message) (channels.Position, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(p.messages, m)
	return channels.Position{Millis: 7}, nil
}

func (p *sentEvents) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.messages[len(p.messages)-1].Payload
}

// call asks with a trace and closes the answer.
func call(t *testing.T, method, url, bearer, parent, body string) (status int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodGet {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Header.Set("Traceparent", parent)
	r.Header.Set("Authorization", "Bearer "+bearer)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 1)
	return answer.StatusCode
}

// Requests have spans that are their client's children. That of a stream is over
// before the stream is, and what is published carries the trace on.
func TestSpansOfRequests(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	publisher := &sentEvents{}
	server := serve(t, []channels.Policy{policy(t, "a", channels.AccessAuthenticated, channels.AccessAuthenticated), policy(t, "w", channels.AccessWebhook, "")}, func(o *Options) {
		o.Tracer, o.Publisher, o.Authorizer = provider.Tracer("test"), publisher, newAsked(nil)
	})
	rights := token(t, "alice", nil, nil)
	events := server.URL + "/v1/channels/a/events"
	for _, step := range []struct {
		method, url, body string
		status            int
		names             string
		failed            bool
	}{
		{"POST", events, `{"type":"x"}`, 200, "publish", false},
		{"GET", events, "", 200, "history", false},
		{"GET", events + "?limit=x", "", 400, "history", false},
		{"GET", server.URL + "/v1/events?channel=a", "", 200, "connect", false},
		{"GET", server.URL + "/v1/events?channel=w&mode=poll", "", 200, "webhook question, connect", false},
	} {
		before := len(spans.Ended())
		if got := call(t, step.method, step.url, rights, sampled, step.body); got != step.status {
			t.Fatalf("%s %s: %d, want %d", step.method, step.url, got, step.status)
		}
		var names []string
		for _, s := range spans.Ended()[before:] {
			names = append(names, s.Name())
			if s.SpanContext().TraceID().String() != parentTrace || (s.Status().Code == codes.Error) != step.failed {
				t.Errorf("%s %s: %+v", step.method, step.url, s)
			}
			if s.Name() != "webhook question" && s.Parent().SpanID().String() != parentSpan {
				t.Errorf("%s is the child of %v", s.Name(), s.Parent().SpanID())
			}
		}
		if got := strings.Join(names, ", "); got != step.names {
			t.Errorf("%s %s: the spans are %s, want %s", step.method, step.url, got, step.names)
		}
	}
	span := spans.Ended()[0].SpanContext()
	if want := `{"traceparent":"00-` + parentTrace + "-" + span.SpanID().String() + `-01","type":"x"}`; publisher.last() != want {
		t.Errorf("published %s, want %s", publisher.last(), want)
	}

	// Who samples nothing is not traced, and nothing is added.
	before := len(spans.Ended())
	for _, parent := range []string{"", "garbage", "00-" + parentTrace + "-" + parentSpan + "-00"} {
		call(t, "POST", events, rights, parent, `{"type":"x"}`)
		if publisher.last() != `{"type":"x"}` {
			t.Errorf("published %s", publisher.last())
		}
	}
	if n := len(spans.Ended()) - before; n != 0 {
		t.Errorf("%d spans", n)
	}
}

// What failed is an error of the span, and its line of log names the span.
func TestTheLogNamesTheSpan(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	var log strings.Builder
	server := serve(t, []channels.Policy{policy(t, "a", channels.AccessAuthenticated, channels.AccessAuthenticated)}, func(o *Options) {
		o.Tracer, o.Publisher = provider.Tracer("test"), failing{errors.New("away")}
		o.Logger = slog.New(telemetry.LogHandler(slog.NewTextHandler(&log, nil)))
	})
	if status := call(t, "POST", server.URL+"/v1/channels/a/events", token(t, "alice", nil, nil), sampled, "x"); status != 503 {
		t.Fatalf("answered %d", status)
	}
	server.Close() // the line is written
	span := spans.Ended()[0]
	if span.Status().Code != codes.Error {
		t.Errorf("the status is %v", span.Status())
	}
	if want := "trace_id=" + parentTrace + " span_id=" + span.SpanContext().SpanID().String(); !strings.Contains(log.String(), want) {
		t.Errorf("logged %s, want %s", log.String(), want)
	}
}

// Without a tracer the header means nothing.
func TestNoTracerNoSpans(t *testing.T) {
	publisher := &sentEvents{}
	server := serve(t, []channels.Policy{policy(t, "a", channels.AccessAuthenticated, channels.AccessAuthenticated)}, func(o *Options) { o.Publisher = publisher })
	rights := token(t, "alice", nil, nil)
	if status := call(t, "POST", server.URL+"/v1/channels/a/events", rights, sampled, `{"type":"x"}`); status != 200 || publisher.last() != `{"type":"x"}` {
		t.Errorf("answered %d, published %s", status, publisher.last())
	}
}

func TestCarrying(t *testing.T) {
	ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	}))
	const member = `"traceparent":"00-01000000000000000000000000000000-0200000000000000-01"`
	for _, row := range []struct {
		payload string
		max     int
		want    string
	}{
		{`{}`, 1000, `{` + member + `}`},
		{" \n{ \"a\":1}", 1000, `{` + member + `, "a":1}`},
		{`{"data":{"traceparent":"x"}}`, 1000, `{` + member + `,"data":{"traceparent":"x"}}`},
		{`{"a":1}`, 20, `{"a":1}`}, // no room
		{`{"traceparent":"mine"}`, 1000, `{"traceparent":"mine"}`},
		{`{"a":`, 1000, `{"a":`},
		{`[{}]`, 1000, `[{}]`},
		{`text`, 1000, `text`},
		{``, 1000, ``},
	} {
		if got := carrying(ctx, row.payload, row.max); got != row.want {
			t.Errorf("%q becomes %q, want %q", row.payload, got, row.want)
		}
		if got := carrying(context.Background(), row.payload, row.max); got != row.payload {
			t.Errorf("without a trace %q becomes %q", row.payload, got)
		}
	}
}
