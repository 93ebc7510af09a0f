package telemetry

import (
	"time"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/limit"
	"realtime-gateway/internal/revocation"
	"realtime-gateway/internal/webhook"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
	"realtime-gateway/pkg/sse"
)

// seconds returns what records durations, none below zero: clocks differ.
func (t *Telemetry) seconds(name string) func(time.Duration) {
	h := t.histograms[name]
	return func(d time.Duration) { h.Record(background, max(0, d.Seconds())) }
}

// one returns what counts one.
func (t *Telemetry) one(name string) func() { return t.counters[name].one() }

// Channels returns the hooks of the hub.
func (t *Telemetry) Channels() channels.Hooks {
	gaps, replays, dropped := t.counters["gateway.gaps"], t.counters["gateway.replays"], t.counters["gateway.events.dropped"]
	evictions := t.counters["gateway.log.evictions"]
	hooks := channels.Hooks{
		EventIn:   t.one("gateway.events.in"),
		Conflated: t.one("gateway.events.conflated"),
		Missed:    t.one("gateway.announcements.missed"),
		Lag:       t.seconds("gateway.event.age"),
		Gap:       func(r channels.GapReason) { gaps.add(string(r), 1) },
		Read:      func(s channels.ReplaySource) { replays.add(string(s), 1) },
		Dropped:   func(r channels.DropReason, n int) { dropped.add(string(r), n) },
		Evicted:   func(n int) { evictions.add("", n) },
	}
	if t.tracer != nil {
		hooks.FanOut, hooks.Replaying = t.fanOuts.begin, replaying(t.tracer)
	}
	return hooks
}

// Streams returns the hooks of the streams.
func (t *Telemetry) Streams() sse.Hooks {
	closed, refused := t.counters["gateway.streams.closed"], t.counters["gateway.streams.refused"]
	opened, resumed := t.one("gateway.streams.opened"), t.one("gateway.streams.resumed")
	writes, events, bytes := t.counters["gateway.writes"], t.counters["gateway.events.out"], t.counters["gateway.bytes.out"]
	lifetime, limited := t.seconds("gateway.stream.lifetime"), t.Limited()
	hooks := sse.Hooks{
		Opened: func(again bool) {
			opened()
			if again {
				resumed()
			}
		},
		Closed: func(reason string, open time.Duration) {
			closed.add(reason, 1)
			lifetime(open)
		},
		Refused: func(r sse.CloseReason) {
			refused.add(string(r), 1)
			if r == sse.CloseFull {
				limited(limit.ReplicaConnections)
			}
		},
		Wrote: func(w, e, b int) {
			writes.add("", w)
			events.add("", e)
			bytes.add("", b)
		},
		Delivered: t.seconds("gateway.delivery.latency"),
	}
	if t.tracer != nil {
		hooks.Sent = t.fanOuts.sent
	}
	return hooks
}

// Limited returns the hook of the limits.
func (t *Telemetry) Limited() func(limit.Name) {
	limited := t.counters["gateway.limited"]
	return func(n limit.Name) { limited.add(string(n), 1) }
}

// Authenticated returns the hook of who requests are from.
func (t *Telemetry) Authenticated() func(auth.Result) {
	results := t.counters["gateway.auth.results"]
	return func(r auth.Result) { results.add(string(r), 1) }
}

// Redis returns the hooks of the bus.
func (t *Telemetry) Redis() redisbus.Hooks {
	up, patterns, links := t.gauges["gateway.redis.up"], t.gauges["gateway.recorder.patterns"], t.gauges["gateway.redis.links"]
	recorded, rejected, lost := t.counters["gateway.plain.recorded"], t.counters["gateway.plain.rejected"], t.counters["gateway.redis.links.lost"]
	return redisbus.Hooks{
		State: func(heard bool) {
			n := 0
			if heard {
				n = 1
			}
			up.set("", n)
		},
		Recorded: func(first bool) {
			role := roleSecond
			if first {
				role = roleFirst
			}
			recorded.add(role, 1)
		},
		Rejected: func(reason string) { rejected.add(reason, 1) },
		Roles: func(first, second int) {
			patterns.set(roleFirst, first)
			patterns.set(roleSecond, second)
		},
		RTT: t.seconds("gateway.redis.round_trip"),
		Links: func(up, wanted int) {
			links.set("up", up)
			links.set("wanted", wanted)
		},
		Lost:  func(r redisbus.LinkLoss) { lost.add(string(r), 1) },
		Probe: t.seconds("gateway.redis.probe.round_trip"),
	}
}

// Revocation returns the hooks of the registry of revocations.
func (t *Telemetry) Revocation() revocation.Hooks {
	heard, taken := t.counters["gateway.revocations"], t.counters["gateway.revoked"]
	return revocation.Hooks{
		Heard: func(scope string) { heard.add(scope, 1) },
		Taken: func(what string) { taken.add(what, 1) },
	}
}

// Webhook returns the hooks of the authorizer.
func (t *Telemetry) Webhook() webhook.Hooks {
	questions, took := t.counters["gateway.webhook.questions"], t.seconds("gateway.webhook.duration")
	return webhook.Hooks{
		Cached: func() { questions.add(resultCached, 1) },
		Asked: func(r webhook.Result, d time.Duration) {
			questions.add(string(r), 1)
			if r != webhook.ResultCircuit && r != webhook.ResultOverload {
				took(d)
			}
		},
	}
}
