package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traceparent is the header, and the member of an event, that says which trace
// something belongs to: W3C Trace Context, section 3.2.
const traceparent = "traceparent"

// traced gives the requests of a handler a span, which is the child of the
// client's. Where nothing is traced it is the handler itself.
func (a *api) traced(name string, kind trace.SpanKind, next echo.HandlerFunc) echo.HandlerFunc {
	if a.Tracer == nil {
		return next
	}
	return func(c echo.Context) error {
		end := a.span(c, name, kind)
		err := next(c)
		end(err)
		return err
	}
}

// span begins a span of a request and puts it into the request's context, from
// which the lines of its log have their ids.
func (a *api) span(c echo.Context, name string, kind trace.SpanKind) (end func(error)) {
	if a.Tracer == nil {
		return func(error) {}
	}
	r := c.Request()
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := a.Tracer.Start(ctx, name, trace.WithSpanKind(kind))
	c.SetRequest(r.WithContext(ctx))
	return func(err error) { endSpan(span, err) }
}

// describe adds to the span that ctx belongs to, if it is kept.
func describe(ctx context.Context, attributes ...attribute.KeyValue) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attributes...)
	}
}

// Keys of attributes, by the semantic conventions for messaging where these have
// one.
const (
	keyChannel  = attribute.Key("messaging.destination.name")
	keyPosition = attribute.Key("messaging.message.id")
	keyCount    = attribute.Key("messaging.batch.message_count")
	keyChannels = attribute.Key("gateway.channels")
	keyAction   = attribute.Key("gateway.action")
)

// endSpan ends a span. What a client did wrong is no failure of the gateway's,
// and its text may quote what the client sent, so it is left out.
func endSpan(span trace.Span, err error) {
	var p *Problem
	switch {
	case err == nil, errors.As(err, new(*limited)), errors.As(err, &p) && p.Status < http.StatusInternalServerError:
	default:
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// carrying returns the payload with the trace that ctx belongs to, so that it
// goes on where the event is fanned out: where the trace is sampled, and the
// payload is a JSON object that names none. It must not become longer than max.
func carrying(ctx context.Context, payload string, max int) string {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return payload
	}
	text := strings.TrimLeft(payload, " \t\r\n")
	var members map[string]json.RawMessage
	if !strings.HasPrefix(text, "{") || json.Unmarshal([]byte(text), &members) != nil || members[traceparent] != nil {
		return payload
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	head := `{"` + traceparent + `":"` + carrier[traceparent] + `"`
	if len(members) > 0 {
		head += ","
	}
	if out := head + text[1:]; len(out) <= max {
		return out
	}
	return payload
}
