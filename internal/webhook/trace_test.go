package webhook

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

// The application hears which trace a question belongs to.
func TestAQuestionCarriesItsTrace(t *testing.T) {
	with := &app{}
	a := serve(t, with, Options{})
	ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	}))
	if _, err := a.Ask(ctx, alice("a")); err != nil {
		t.Fatal(err)
	}
	if got := with.question().headers.Get("Traceparent"); got != "00-01000000000000000000000000000000-0200000000000000-01" {
		t.Errorf("traceparent is %q", got)
	}
	wantAllowed(t, a, alice("b"))
	if got := with.question().headers.Get("Traceparent"); got != "" {
		t.Errorf("without a trace, traceparent is %q", got)
	}
}
