package telemetry

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

func TestLinesOfASpanHaveItsIDs(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(LogHandler(slog.NewTextHandler(&out, nil))).With("part", "x")
	ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
	}))
	log.InfoContext(ctx, "within", "n", 1)
	log.Info("without")
	within, without, _ := strings.Cut(out.String(), "\n")
	if !strings.Contains(within, "part=x n=1 trace_id=01000000000000000000000000000000 span_id=0200000000000000") {
		t.Errorf("the line of a span is %s", within)
	}
	if strings.Contains(without, "trace_id") {
		t.Errorf("another line is %s", without)
	}
}
