package telemetry

import (
	"context"
	"encoding/json"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// member is where an event carries the trace that it belongs to: a string in the
// format of the header of that name (W3C Trace Context, section 3.2), as in
// CloudEvents' extension for distributed tracing.
const member = "traceparent"

// carried returns the trace of an event whose payload is a JSON object that says
// it. Only such a payload is read.
func carried(payload string) trace.SpanContext {
	if !strings.Contains(payload, `"`+member+`"`) {
		return trace.SpanContext{}
	}
	var members map[string]json.RawMessage
	var parent string
	if json.Unmarshal([]byte(payload), &members) != nil || json.Unmarshal(members[member], &parent) != nil {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{member: parent})
	return trace.SpanContextFromContext(ctx)
}
