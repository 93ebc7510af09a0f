// Command run measures one server of event streams once, whatever it is: the
// gateway, or anything else with a URL to subscribe and a Redis command to
// publish.
//
//	go run ./test/load/run -url 'http://127.0.0.1:8080/v1/events?channel={channel}' \
//		-streams 1000 -channels 1 -rate 50 -time 10s -server PID
//
// Without -time nothing is published, and only memory is looked at. Without
// -rate events are published as fast as they are delivered. With -storm all
// streams are dropped at once and come back.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"text/tabwriter"

	"realtime-gateway/test/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	debug.SetGCPercent(400) // the load shares the machine with what is measured
	var p load.Plan
	flag.StringVar(&p.URL, "url", "http://127.0.0.1:8080/v1/events?channel={channel}", "of a stream; {channel} is its channel's name")
	flag.StringVar(&p.Token, "token", "", "bearer token of all streams")
	flag.StringVar(&p.Prefix, "prefix", "bench:", "of the channels' names")
	flag.StringVar(&p.Command, "command", load.FunctionCommand, "Redis command that publishes")
	flag.StringVar(&p.Redis, "redis", "127.0.0.1:6379", "address of Redis")
	flag.IntVar(&p.Streams, "streams", 1000, "number of streams")
	flag.IntVar(&p.Channels, "channels", 1, "number of channels, a divisor of the streams")
	flag.IntVar(&p.Payload, "payload", 200, "bytes of an event")
	flag.DurationVar(&p.Time, "time", 0, "how long to publish")
	flag.Float64Var(&p.Rate, "rate", 0, "events per second over all channels")
	flag.IntVar(&p.Window, "window", 64, "events on their way to a stream, without a rate")
	flag.BoolVar(&p.Storm, "storm", false, "drop all streams at once, halfway")
	flag.DurationVar(&p.Settle, "settle", 0, "how long streams rest before their memory is taken (default 2s)")
	flag.IntVar(&p.Server, "server", 0, "process id of the server, for its memory and CPU")
	flag.IntVar(&p.RedisServer, "redis-server", 0, "process id of Redis, for its CPU")
	flag.Parse()
	r, err := load.Run(ctx, p)
	if err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
	if err := show(os.Stdout, r); err != nil {
		os.Exit(1)
	}
}

func show(out io.Writer, r *load.Result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	line("streams", "%d open after %v, %d failed, %d ended by the server", r.Streaming, r.OpenTime, r.Failed, r.Closed)
	if r.Err != nil {
		line("first error", "%v", r.Err)
	}
	if r.Idle.RSS > 0 {
		line("memory", "%.1f KiB per idle stream, %d KiB at the peak", r.RSSPerStream()/(1<<10), max(r.End.Peak, r.Idle.Peak)>>10)
	}
	if r.Published > 0 {
		line("events", "%d published in %v, %.0f/s, at most %v late", r.Published, r.Time, r.EventsPerSecond(), r.Lag)
		line("deliveries", "%d, %.0f/s", r.Delivered, r.DeliveriesPerSecond())
		line("wrong", "%d lost, %d twice, %d out of order, %d gaps told, %d of others", r.Lost, r.Repeated, r.Disordered, r.Gaps, r.Foreign)
		line("latency", "p50 %v, p99 %v, max %v", r.Latency.Quantile(0.5), r.Latency.Quantile(0.99), r.Latency.Max())
	}
	if r.ServerCPU > 0 {
		line("server CPU", "%v, %v per delivery", r.ServerCPU, r.CPUPerDelivery())
	}
	if r.RedisCPU > 0 {
		line("redis CPU", "%v, %v per event", r.RedisCPU, r.RedisCPUPerEvent())
	}
	if r.OwnCPU > 0 {
		line("own CPU", "%v", r.OwnCPU)
	}
	if r.Back.Count() > 0 {
		line("caught up", "%d, p50 %v, all %v", r.CaughtUp, r.Back.Quantile(0.5), r.Back.Max())
	}
	return w.Flush()
}
