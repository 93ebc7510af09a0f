package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// replaying returns channels.Hooks.Replaying. A page is read for all who need it
// at that time, so its span is nobody's child: it is there where
// OTEL_TRACES_SAMPLER samples such.
func replaying(tracer trace.Tracer) func(channel string) func(events int, err error) {
	return func(channel string) func(int, error) {
		_, span := tracer.Start(context.Background(), "replay", trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(attribute.String("messaging.destination.name", channel)))
		return func(events int, err error) {
			span.SetAttributes(attribute.Int("messaging.batch.message_count", events))
			if err != nil {
				span.SetStatus(codes.Error, err.Error())
			}
			span.End()
		}
	}
}
