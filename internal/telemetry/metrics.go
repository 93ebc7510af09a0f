package telemetry

import (
	"strings"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/limit"
	"realtime-gateway/internal/webhook"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
	"realtime-gateway/pkg/sse"
)

// Kind is the type of a metric, by Prometheus' name for it.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// The units, as UCUM writes them. Those in braces count things and are no part
// of a name.
const (
	unitNone    = ""
	unitSeconds = "s"
	unitBytes   = "By"
)

// Metric describes one metric.
type Metric struct {
	Name   string // by OpenTelemetry
	Kind   Kind
	Unit   string // by UCUM
	Help   string // one sentence or two
	Label  string // the only label; empty where there is none
	Values []string
	Only   string // in which case it exists; empty for always

	read bool // when metrics are collected; the others are told
}

// Series is the metric's name by Prometheus; of a histogram, without _bucket,
// _sum and _count.
func (m *Metric) Series() string {
	name := strings.ReplaceAll(m.Name, ".", "_")
	if m.Unit == unitSeconds {
		name += "_seconds"
	}
	if m.Kind == Counter {
		name += "_total"
	}
	return name
}

func values[T ~string](list ...T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

// resultCached is a question that a kept answer decided, beside webhook's own.
const resultCached = "cached"

// The results of a subscriber's own end, beside the close reasons.
const (
	endedByClient = "client"
	endedByWrite  = "write"
)

// Metrics is every metric of the gateway, in the order in which people read
// about them.
var Metrics = []Metric{
	{Name: "gateway.build.info", Kind: Gauge, read: true, Help: "What this replica was built from, by its labels version, commit and go_version; always 1."},
	{Name: "gateway.connections", Kind: Gauge, read: true, Unit: "{connection}", Help: "Streams and polls that are open."},
	{Name: "gateway.connections.limit", Kind: Gauge, Unit: "{connection}", Help: "Streams and polls that may be open, by max-connections or by the open files; 0 is any number."},
	{Name: "gateway.connections.loop", Kind: Gauge, read: true, Unit: "{connection}", Help: "Of those that are open, the ones that a loop writes to; the others have a goroutine each."},
	{Name: "gateway.subscriptions", Kind: Gauge, read: true, Unit: "{subscription}", Help: "Subscriptions: one for each channel of each connection."},
	{Name: "gateway.channels", Kind: Gauge, read: true, Unit: "{channel}", Help: "Channels that this replica is subscribed to."},
	{Name: "gateway.streams.opened", Kind: Counter, Unit: "{stream}", Help: "Streams that began."},
	{Name: "gateway.streams.resumed", Kind: Counter, Unit: "{stream}", Help: "Of these, the ones that went on after a cursor: clients that came back."},
	{Name: "gateway.streams.closed", Kind: Counter, Unit: "{stream}", Help: "Streams that ended, by reason: the gateway's, the client's own leaving, or a write that failed or took too long.",
		Label: "reason", Values: values(sse.CloseDraining, sse.CloseMaxAge, sse.CloseUnavailable, sse.CloseTokenExpired, sse.CloseRevoked, sse.CloseSlow, endedByClient, endedByWrite)},
	{Name: "gateway.streams.refused", Kind: Counter, Unit: "{stream}", Help: "Streams that were refused for now, by reason.",
		Label: "reason", Values: values(sse.CloseDraining, sse.CloseUnavailable, sse.CloseFull, sse.CloseLimit, sse.CloseRevoked)},
	{Name: "gateway.stream.lifetime", Kind: Histogram, Unit: unitSeconds, Help: "How long streams were open. A peak at one value is a proxy that cuts them."},
	{Name: "gateway.limited", Kind: Counter, Unit: "{request}", Help: "Streams, other requests and connections that were refused because of a limit, by limit.",
		Label: "limit", Values: values(limit.UserConnections, limit.AddressConnections, limit.UserRate, limit.AddressRate,
			limit.UserPublishRate, limit.AddressPublishRate, limit.ReplicaConnections, limit.Handshakes)},
	{Name: "gateway.auth.results", Kind: Counter, Unit: "{request}", Help: "Requests by whom they were found to be from. Of the good tokens, those whose rights were taken back count again, as revoked, and those of whom that could not be read from Redis, as unread.",
		Label: "result", Values: values(auth.ResultOK, auth.ResultNone, auth.ResultExpired, auth.ResultBad, auth.ResultRevoked, auth.ResultUnread, auth.ResultUnavailable)},

	{Name: "gateway.events.in", Kind: Counter, Unit: "{event}", Help: "Events that entered the logs of this replica."},
	{Name: "gateway.events.out", Kind: Counter, Unit: "{event}", Help: "Events and gaps written to streams."},
	{Name: "gateway.bytes.out", Kind: Counter, Unit: unitBytes, Help: "Bytes written to streams."},
	{Name: "gateway.writes", Kind: Counter, Unit: "{write}", Help: "Writes to streams; each carries all that was pending."},
	{Name: "gateway.event.age", Kind: Histogram, Unit: unitSeconds, Help: "Age of live events, by Redis' clock, when they entered the log of this replica."},
	{Name: "gateway.delivery.latency", Kind: Histogram, Unit: unitSeconds, Help: "Age of live events, by Redis' clock, when they had been written to a stream's socket. A sample: at most one a millisecond of each loop, of the last stream that it wrote to. Replays, and streams whose socket is full, are not in it; conflated events have waited for their window."},
	{Name: "gateway.events.conflated", Kind: Counter, Unit: "{event}", Help: "Events that were superseded by a newer one of their key before they were delivered live."},
	{Name: "gateway.events.dropped", Kind: Counter, Unit: "{event}", Help: "Events that a subscription was not given, and got a gap for: full, because it lagged further behind than bufferSize; expired, because the event was too old.",
		Label: "reason", Values: values(channels.DropFull, channels.DropExpired)},
	{Name: "gateway.gaps", Kind: Counter, Unit: "{gap}", Help: "Gaps that subscribers were told of, by reason.",
		Label: "reason", Values: values(channels.GapTrimmed, channels.GapExpired, channels.GapLost, channels.GapDropped, channels.GapCursor)},
	{Name: "gateway.buffer.lag", Kind: Gauge, read: true, Unit: "{event}", Help: "How many events the subscription that is furthest behind has yet to be given, of those in memory."},
	{Name: "gateway.subscriptions.behind", Kind: Gauge, read: true, Unit: "{subscription}", Help: "Subscriptions that are behind by more than half their bufferSize, or read history to catch up."},
	{Name: "gateway.replays", Kind: Counter, Unit: "{page}", Help: "Replays and pages of replays served, by source: log is this replica's memory, history is Redis.",
		Label: "source", Values: values(channels.FromLog, channels.FromHistory)},
	{Name: "gateway.log.bytes", Kind: Gauge, read: true, Unit: unitBytes, Help: "Bytes that the logs of all channels hold in memory; log-memory bounds them."},
	{Name: "gateway.log.evictions", Kind: Counter, Unit: "{event}", Help: "Events that left the logs of this replica early, for log-memory. Who needs them reads the stream."},

	{Name: "gateway.ready", Kind: Gauge, read: true, Unit: unitNone, Help: "1 while /readyz answers 200, otherwise 0. With gateway_redis_up at 0 the replica is degraded: ready, because nobody else is known to be better."},
	{Name: "gateway.redis.up", Kind: Gauge, Unit: unitNone, Help: "1 while everything is heard from Redis, otherwise 0."},
	{Name: "gateway.redis.links", Kind: Gauge, Unit: "{connection}", Help: "Subscription connections to Redis, by state: up, and wanted in all.",
		Label: "state", Values: []string{"up", "wanted"}},
	{Name: "gateway.redis.links.lost", Kind: Counter, Unit: "{connection}", Help: "Subscription connections to Redis that were given up, by reason: deaf is one that was open and delivered nothing.",
		Label: "reason", Values: values(redisbus.LinkDeaf, redisbus.LinkBroken, redisbus.LinkMoved)},
	{Name: "gateway.announcements.missed", Kind: Counter, Unit: "{time}", Help: "Times that announcements were missed and read from the stream."},
	{Name: "gateway.redis.round_trip", Kind: Histogram, Unit: unitSeconds, Help: "Duration of one call of Redis."},
	{Name: "gateway.redis.probe.round_trip", Kind: Histogram, Unit: unitSeconds, Help: "Time from publishing a probe to hearing it on the subscription connection."},
	{Name: "gateway.recorder.patterns", Kind: Gauge, Unit: "{pattern}", Help: "Patterns of plain PUBLISH that this replica records, by role: the second stands in for the first.",
		Label: "role", Values: []string{roleFirst, roleSecond}},
	{Name: "gateway.plain.recorded", Kind: Counter, Unit: "{event}", Help: "Payloads that came by PUBLISH and were recorded by this replica, by role.",
		Label: "role", Values: []string{roleFirst, roleSecond}},
	{Name: "gateway.plain.rejected", Kind: Counter, Unit: "{event}", Help: "Payloads that came by PUBLISH and were dropped: payload is one that cannot be an event, policy one that no policy loaded in Redis records, prefix one under a reserved name, overload one too many.",
		Label: "reason", Values: []string{"payload", "policy", "prefix", "overload"}},

	{Name: "gateway.revocations", Kind: Counter, Unit: "{revocation}", Help: "Revocations that concern users who are known to this replica, by scope.",
		Label: "scope", Values: []string{"user", "token", "channel"}},
	{Name: "gateway.revoked", Kind: Counter, Unit: "{connection}", Help: "Rights taken from open connections, by what they lost: connection, channel, or, because nobody could tell, unread.",
		Label: "lost", Values: []string{"connection", "channel", "unread"}},
	{Name: "gateway.webhook.questions", Kind: Counter, Unit: "{question}", Help: "Questions about rights, by result: what the application said, that a kept answer decided, or why there was none.",
		Label: "result", Values: values(resultCached, webhook.ResultAllow, webhook.ResultDeny, webhook.ResultTimeout, webhook.ResultNetwork, webhook.ResultStatus,
			webhook.ResultAnswer, webhook.ResultCircuit, webhook.ResultOverload, webhook.ResultAbandoned)},
	{Name: "gateway.webhook.duration", Kind: Histogram, Unit: unitSeconds, Help: "Time from a question that was sent to its end, with its wait for a turn and all attempts."},
	{Name: "gateway.jwks.loaded", Kind: Gauge, read: true, Unit: unitSeconds, Help: "When the key set of `jwks-url` was last loaded, in Unix time; 0 before the first time. It is fetched again every 5 minutes, and the last one counts meanwhile.", Only: "with `jwks-url`"},
	{Name: "gateway.tls.certificate.expiry", Kind: Gauge, read: true, Unit: unitSeconds, Help: "When the TLS certificate in use expires, in Unix time.", Only: "with `tls-cert-file`"},
}

// The roles of who records plain PUBLISH.
const (
	roleFirst  = "first"
	roleSecond = "second"
)
