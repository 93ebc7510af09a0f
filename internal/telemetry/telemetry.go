// Package telemetry turns the hooks of the core packages into OpenTelemetry
// metrics, and serves them in Prometheus' text format. Labels come from closed
// sets only: never a channel's or a user's name.
package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"realtime-gateway/internal/limit"
	"realtime-gateway/internal/revocation"
	"realtime-gateway/internal/webhook"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
	"realtime-gateway/pkg/sse"
)

// Telemetry holds the instruments. Safe for concurrent use.
type Telemetry struct {
	provider *sdkmetric.MeterProvider
	handler  http.Handler
	meter    metric.Meter

	eventsIn, gaps, missed, replays, evictions   metric.Int64Counter
	conflated                                    metric.Int64Counter
	opened, closed, refused, eventsOut, bytesOut metric.Int64Counter
	writes, recorded, rejected, linksLost        metric.Int64Counter
	revocations, revoked                         metric.Int64Counter
	limited                                      metric.Int64Counter
	questions                                    metric.Int64Counter
	age, lifetime, roundTrip, probe, asked       metric.Float64Histogram
	redisUp, recorderRoles, links                metric.Int64Gauge
}

// New makes the instruments.
func New(version string) (*Telemetry, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	t := &Telemetry{
		provider: provider,
		handler:  promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		meter:    provider.Meter("realtime-gateway", metric.WithInstrumentationVersion(version)),
	}
	return t, t.instruments()
}

func (t *Telemetry) instruments() error {
	var errs []error
	for _, c := range []struct {
		to         *metric.Int64Counter
		name, help string
	}{
		{&t.eventsIn, "gateway.events.in", "Events that entered the logs of this replica."},
		{&t.conflated, "gateway.events.conflated", "Events that were superseded by a newer one of their key before they were delivered live."},
		{&t.gaps, "gateway.gaps", "Gaps that subscribers were told of, by reason."},
		{&t.missed, "gateway.announcements.missed", "Times that announcements were missed and read from the stream."},
		{&t.replays, "gateway.replays", "Replays and pages of replays served, by source."},
		{&t.evictions, "gateway.log.evictions", "Events that left the logs of this replica early, for log-memory. Who needs them reads the stream."},
		{&t.opened, "gateway.streams.opened", "Streams that began."},
		{&t.closed, "gateway.streams.closed", "Streams that ended, by reason."},
		{&t.refused, "gateway.streams.refused", "Streams that were refused for now, by reason."},
		{&t.limited, "gateway.limited", "Streams, other requests and connections that were refused because of a limit, by limit."},
		{&t.eventsOut, "gateway.events.out", "Events and gaps written to streams."},
		{&t.bytesOut, "gateway.bytes.out", "Bytes written to streams."},
		{&t.writes, "gateway.writes", "Writes to streams; each carries all that was pending."},
		{&t.recorded, "gateway.plain.recorded", "Payloads that came by PUBLISH and were recorded by this replica, by role."},
		{&t.rejected, "gateway.plain.rejected", "Payloads that came by PUBLISH and were dropped, by reason."},
		{&t.revocations, "gateway.revocations", "Revocations that concern users who are known to this replica, by scope."},
		{&t.revoked, "gateway.revoked", "Rights taken from open connections, by what they lost: connection, channel, or, because nobody could tell, unread."},
		{&t.linksLost, "gateway.redis.links.lost", "Subscription connections to Redis that were given up, by reason."},
		{&t.questions, "gateway.webhook.questions", "Questions about rights, by result: what the application said, that a kept answer decided, or why there was none."},
	} {
		var err error
		*c.to, err = t.meter.Int64Counter(c.name, metric.WithDescription(c.help))
		errs = append(errs, err)
	}
	fine := metric.WithExplicitBucketBoundaries(.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
	long := metric.WithExplicitBucketBoundaries(1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 4*3600, 24*3600)
	for _, h := range []struct {
		to         *metric.Float64Histogram
		name, help string
		buckets    metric.HistogramOption
	}{
		{&t.age, "gateway.event.age", "Age of live events, by Redis' clock, when they entered the log of this replica.", fine},
		{&t.lifetime, "gateway.stream.lifetime", "How long streams were open. A peak at one value is a proxy that cuts them.", long},
		{&t.roundTrip, "gateway.redis.round_trip", "Duration of one call of Redis.", fine},
		{&t.probe, "gateway.redis.probe.round_trip", "Time from publishing a probe to hearing it on the subscription connection.", fine},
		{&t.asked, "gateway.webhook.duration", "Time from a question that was sent to its end, with its wait for a turn and all attempts.", fine},
	} {
		var err error
		*h.to, err = t.meter.Float64Histogram(h.name, metric.WithDescription(h.help), metric.WithUnit("s"), h.buckets)
		errs = append(errs, err)
	}
	for _, g := range []struct {
		to         *metric.Int64Gauge
		name, help string
	}{
		{&t.redisUp, "gateway.redis.up", "1 while everything is heard from Redis, otherwise 0."},
		{&t.links, "gateway.redis.links", "Subscription connections to Redis, by state: up, and wanted in all."},
		{&t.recorderRoles, "gateway.recorder.patterns", "Patterns of plain PUBLISH that this replica records, by role."},
	} {
		var err error
		*g.to, err = t.meter.Int64Gauge(g.name, metric.WithDescription(g.help))
		errs = append(errs, err)
	}
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("telemetry: %w", err)
		}
	}
	return nil
}

// Observe adds gauges that are read when metrics are collected, by functions
// that must be safe for concurrent use: open streams and polls, how many of
// these loops write to, subscribed channels, and bytes in the channels' logs.
// The error is that of OpenTelemetry about the instruments.
func (t *Telemetry) Observe(connections, byLoops, topics func() int, logBytes func() int64) error {
	for name, g := range map[string]struct {
		help string
		read func() int64
	}{
		"gateway.connections":      {"Streams and polls that are open.", func() int64 { return int64(connections()) }},
		"gateway.connections.loop": {"Of these, the ones that a loop writes to; the others have a goroutine each.", func() int64 { return int64(byLoops()) }},
		"gateway.channels":         {"Channels that this replica is subscribed to.", func() int64 { return int64(topics()) }},
		"gateway.log.bytes":        {"Bytes that the logs of all channels hold in memory; log-memory bounds them.", logBytes},
	} {
		_, err := t.meter.Int64ObservableGauge(name, metric.WithDescription(g.help),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(g.read())
				return nil
			}))
		if err != nil {
			return fmt.Errorf("telemetry: %w", err)
		}
	}
	return nil
}

// ObserveCertificate adds the gauge of when the TLS certificate expires, read
// like those of Observe.
func (t *Telemetry) ObserveCertificate(expires func() time.Time) error {
	_, err := t.meter.Int64ObservableGauge("gateway.tls.certificate.expiry",
		metric.WithDescription("When the TLS certificate in use expires, in Unix time."), metric.WithUnit("s"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(expires().Unix())
			return nil
		}))
	if err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	return nil
}

// Handler serves the metrics.
func (t *Telemetry) Handler() http.Handler { return t.handler }

// Shutdown flushes and ends the metrics.
func (t *Telemetry) Shutdown(ctx context.Context) error { return t.provider.Shutdown(ctx) }

var background = context.Background()

// labels makes the sets of one label's values once.
func labels[T ~string](name string, values ...T) map[T]metric.MeasurementOption {
	m := make(map[T]metric.MeasurementOption, len(values))
	for _, v := range values {
		m[v] = metric.WithAttributeSet(attribute.NewSet(attribute.String(name, string(v))))
	}
	return m
}

// Channels returns the hooks of the hub.
func (t *Telemetry) Channels() channels.Hooks {
	reasons := labels("reason", channels.GapTrimmed, channels.GapExpired, channels.GapLost, channels.GapDropped, channels.GapCursor)
	sources := labels("source", channels.FromLog, channels.FromHistory)
	return channels.Hooks{
		EventIn:   func() { t.eventsIn.Add(background, 1) },
		Conflated: func() { t.conflated.Add(background, 1) },
		Gap:       func(r channels.GapReason) { t.gaps.Add(background, 1, reasons[r]) },
		Missed:    func() { t.missed.Add(background, 1) },
		Read:      func(s channels.ReplaySource) { t.replays.Add(background, 1, sources[s]) },
		Lag:       func(d time.Duration) { t.age.Record(background, max(0, d.Seconds())) },
		Evicted:   func(events int) { t.evictions.Add(background, int64(events)) },
	}
}

// Streams returns the hooks of the streams.
func (t *Telemetry) Streams() sse.Hooks {
	refusals := labels("reason", sse.CloseDraining, sse.CloseUnavailable, sse.CloseFull, sse.CloseLimit, sse.CloseRevoked)
	limited := t.Limited()
	ends := labels("reason", sse.CloseDraining, sse.CloseMaxAge, sse.CloseUnavailable, sse.CloseTokenExpired, sse.CloseRevoked, sse.CloseSlow, "client", "write")
	return sse.Hooks{
		Opened: func() { t.opened.Add(background, 1) },
		Closed: func(reason string, open time.Duration) {
			t.closed.Add(background, 1, ends[sse.CloseReason(reason)])
			t.lifetime.Record(background, open.Seconds())
		},
		Refused: func(r sse.CloseReason) {
			t.refused.Add(background, 1, refusals[r])
			if r == sse.CloseFull {
				limited(limit.ReplicaConnections)
			}
		},
		Wrote: func(writes, events, bytes int) {
			t.writes.Add(background, int64(writes))
			t.eventsOut.Add(background, int64(events))
			t.bytesOut.Add(background, int64(bytes))
		},
	}
}

// Limited returns the hook of the limits.
func (t *Telemetry) Limited() func(limit.Name) {
	names := labels("limit", limit.UserConnections, limit.AddressConnections, limit.UserRate, limit.AddressRate,
		limit.UserPublishRate, limit.AddressPublishRate, limit.ReplicaConnections, limit.Handshakes)
	return func(n limit.Name) { t.limited.Add(background, 1, names[n]) }
}

// Redis returns the hooks of the bus.
func (t *Telemetry) Redis() redisbus.Hooks {
	roles := labels("role", "first", "second")
	reasons := labels("reason", "payload", "policy", "prefix", "overload")
	states := labels("state", "up", "wanted")
	losses := labels("reason", redisbus.LinkDeaf, redisbus.LinkBroken, redisbus.LinkMoved)
	return redisbus.Hooks{
		State: func(up bool) {
			var n int64
			if up {
				n = 1
			}
			t.redisUp.Record(background, n)
		},
		Recorded: func(first bool) {
			role := "second"
			if first {
				role = "first"
			}
			t.recorded.Add(background, 1, roles[role])
		},
		Rejected: func(reason string) { t.rejected.Add(background, 1, reasons[reason]) },
		Roles: func(first, second int) {
			t.recorderRoles.Record(background, int64(first), roles["first"])
			t.recorderRoles.Record(background, int64(second), roles["second"])
		},
		RTT: func(d time.Duration) { t.roundTrip.Record(background, d.Seconds()) },
		Links: func(up, wanted int) {
			t.links.Record(background, int64(up), states["up"])
			t.links.Record(background, int64(wanted), states["wanted"])
		},
		Lost:  func(r redisbus.LinkLoss) { t.linksLost.Add(background, 1, losses[r]) },
		Probe: func(d time.Duration) { t.probe.Record(background, d.Seconds()) },
	}
}

// Revocation returns the hooks of the registry of revocations.
func (t *Telemetry) Revocation() revocation.Hooks {
	scopes := labels("scope", "user", "token", "channel")
	whats := labels("lost", "connection", "channel", "unread")
	return revocation.Hooks{
		Heard: func(scope string) { t.revocations.Add(background, 1, scopes[scope]) },
		Taken: func(what string) { t.revoked.Add(background, 1, whats[what]) },
	}
}

// Webhook returns the hooks of the authorizer.
func (t *Telemetry) Webhook() webhook.Hooks {
	const cached webhook.Result = "cached"
	results := labels("result", cached, webhook.ResultAllow, webhook.ResultDeny, webhook.ResultTimeout, webhook.ResultNetwork, webhook.ResultStatus,
		webhook.ResultAnswer, webhook.ResultCircuit, webhook.ResultOverload, webhook.ResultAbandoned)
	return webhook.Hooks{
		Cached: func() { t.questions.Add(background, 1, results[cached]) },
		Asked: func(r webhook.Result, took time.Duration) {
			t.questions.Add(background, 1, results[r])
			if r != webhook.ResultCircuit && r != webhook.ResultOverload {
				t.asked.Record(background, took.Seconds())
			}
		},
	}
}
