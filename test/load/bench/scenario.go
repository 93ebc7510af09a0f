package main

import (
	"fmt"
	"strconv"
	"time"

	"realtime-gateway/test/load"
)

// scenario is one kind of load and what is of interest in it.
type scenario struct {
	title   string
	plan    load.Plan
	figures []figure
}

// figure is one number of a result.
type figure struct {
	name string
	unit string
	more bool // is better
	plot bool
	of   func(*load.Result) float64
}

// maxStreams leaves room for a server's other descriptors below 20,000, the
// limit on many machines.
const maxStreams = 19_000

// maxChannels of the storm, each with as many streams.
const stormChannels = 50

// scenarios are sized by scale; each publishes for the given time.
func scenarios(scale float64, publish time.Duration) []scenario {
	sized := func(n int) int {
		n = min(max(int(float64(n)*scale), stormChannels), maxStreams)
		return n - n%stormChannels
	}
	many, some, few := sized(10_000), sized(5_000), sized(1_000)
	// Memory needs rest, the rest does not.
	const short = 500 * time.Millisecond
	return []scenario{
		{
			title:   count(many) + " idle streams on one channel",
			plan:    load.Plan{Streams: many, Channels: 1},
			figures: []figure{memoryPerStream},
		},
		{
			title:   count(many) + " channels with one stream each, 2,000 events/s",
			plan:    load.Plan{Streams: many, Channels: many, Time: publish, Rate: 2000},
			figures: []figure{memoryPerStream, cpuPerDelivery, median, tail},
		},
		{
			title:   count(few) + " streams on one channel, 50 events/s",
			plan:    load.Plan{Streams: few, Channels: 1, Time: publish, Rate: 50, Settle: short},
			figures: []figure{cpuPerDelivery, median, tail},
		},
		{
			title:   count(some) + " streams on one channel, as fast as it goes",
			plan:    load.Plan{Streams: some, Channels: 1, Time: publish, Settle: short},
			figures: []figure{deliveries, cpuPerDelivery},
		},
		{
			title:   "100 channels with one stream each, as fast as it goes",
			plan:    load.Plan{Streams: 100, Channels: 100, Time: publish, Settle: short},
			figures: []figure{events, redisCPU},
		},
		{
			title:   fmt.Sprintf("%s streams on %d channels dropped at once, 100 events/s going on", count(some), stormChannels),
			plan:    load.Plan{Streams: some, Channels: stormChannels, Time: publish, Rate: 100, Storm: true, Settle: short},
			figures: []figure{caughtUp, lost, repeated, peak},
		},
	}
}

// count writes 10000 as 10,000.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

var (
	memoryPerStream = figure{name: "server memory per stream", unit: "KiB", plot: true,
		of: func(r *load.Result) float64 { return r.RSSPerStream() / (1 << 10) }}
	cpuPerDelivery = figure{name: "server CPU per delivery", unit: "µs", plot: true,
		of: func(r *load.Result) float64 { return micros(r.ServerCPU) / float64(max(r.Delivered, 1)) }}
	redisCPU = figure{name: "Redis CPU per event", unit: "µs", plot: true,
		of: func(r *load.Result) float64 { return micros(r.RedisCPU) / float64(max(r.Published, 1)) }}
	median = figure{name: "publish to client, median", unit: "ms",
		of: func(r *load.Result) float64 { return millis(r.Latency.Quantile(0.5)) }}
	tail = figure{name: "publish to client, 99th percentile", unit: "ms", plot: true,
		of: func(r *load.Result) float64 { return millis(r.Latency.Quantile(0.99)) }}
	deliveries = figure{name: "deliveries", unit: "/s", more: true, plot: true,
		of: func(r *load.Result) float64 { return perSecond(r.Delivered, r.Time) }}
	events = figure{name: "events published and delivered", unit: "/s", more: true, plot: true,
		of: func(r *load.Result) float64 { return perSecond(r.Published, r.Time) }}
	caughtUp = figure{name: "until the last one has everything again", unit: "ms", plot: true,
		of: func(r *load.Result) float64 { return millis(r.Back.Max()) }}
	lost = figure{name: "deliveries lost", plot: true,
		of: func(r *load.Result) float64 { return float64(r.Lost) }}
	repeated = figure{name: "deliveries twice",
		of: func(r *load.Result) float64 { return float64(r.Repeated) }}
	peak = figure{name: "server memory at its peak", unit: "MiB", plot: true,
		of: func(r *load.Result) float64 { return float64(r.End.Peak) / (1 << 20) }}
)

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func perSecond(n uint64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
