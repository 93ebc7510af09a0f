package telemetry

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"realtime-gateway/pkg/channels"
)

const (
	// maxFanOuts is how many traced events are followed at a time; the spans of
	// others end as they begin.
	maxFanOuts = 1024
	// fanOutTime is how long one is followed. Polls are never told of, and who
	// does not read may take long.
	fanOutTime = 5 * time.Second
)

// fanOuts follow traced events from their channel's log to the sockets. Safe for
// concurrent use.
type fanOuts struct {
	tracer trace.Tracer
	open   atomic.Int64 // lets who writes see at a glance that there are none

	mu sync.Mutex
	of map[string][]*fanOut // by channel
}

// fanOut is one traced event on its way to the subscribers of this replica.
type fanOut struct {
	span     trace.Span
	channel  string
	position channels.Position
	left     int // connections that it has not reached
	reached  int
	last     time.Time // when it last reached one, or began
	timer    *time.Timer
}

func newFanOuts(tracer trace.Tracer) *fanOuts {
	return &fanOuts{tracer: tracer, of: make(map[string][]*fanOut)}
}

// begin starts the span of an event that carries a trace that is sampled. It is
// the publisher's child, and linked to it as messages are.
func (f *fanOuts) begin(channel string, e *channels.Event, subscriptions int) {
	parent := carried(e.Payload)
	if !parent.IsValid() {
		return
	}
	now := time.Now()
	_, span := f.tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), parent), "fan-out",
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(now), trace.WithLinks(trace.Link{SpanContext: parent}),
		trace.WithAttributes(
			attribute.String("messaging.destination.name", channel), attribute.String("messaging.message.id", e.Position.String()),
			attribute.Int("gateway.subscriptions", subscriptions),
		))
	one := &fanOut{span: span, channel: channel, position: e.Position, left: subscriptions, last: now}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !span.IsRecording() || subscriptions == 0 || f.open.Load() >= maxFanOuts {
		span.End()
		return
	}
	f.open.Add(1)
	f.of[channel] = append(f.of[channel], one)
	one.timer = time.AfterFunc(fanOutTime, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.endLocked(one)
	})
}

// sent notes that connections have been written what a channel has behind one
// position up to another: sse.Hooks.Sent.
func (f *fanOuts) sent(channel string, after, upto channels.Position, connections int) {
	if f.open.Load() == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range slices.Clone(f.of[channel]) {
		if !after.Less(one.position) || upto.Less(one.position) {
			continue
		}
		one.last = time.Now()
		one.reached += connections
		if one.left -= connections; one.left <= 0 {
			f.endLocked(one)
		}
	}
}

// endLocked ends a span when its event last reached somebody, unless it has.
func (f *fanOuts) endLocked(one *fanOut) {
	i := slices.Index(f.of[one.channel], one)
	if i < 0 {
		return
	}
	one.timer.Stop()
	f.open.Add(-1)
	if f.of[one.channel] = slices.Delete(f.of[one.channel], i, i+1); len(f.of[one.channel]) == 0 {
		delete(f.of, one.channel)
	}
	one.span.SetAttributes(attribute.Int("gateway.reached", one.reached))
	one.span.End(trace.WithTimestamp(one.last))
}

// close ends all spans.
func (f *fanOuts) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, list := range f.of {
		for _, one := range slices.Clone(list) {
			f.endLocked(one)
		}
	}
}
