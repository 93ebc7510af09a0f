package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Plan is one measurement. Which kind it is follows from its fields: without
// Time nothing is published, and only memory is looked at; with a Rate events
// are paced, without one they are published as fast as they are delivered; with
// Storm all streams are dropped once in between.
type Plan struct {
	URL     string // see ClientOptions
	Token   string // likewise
	Prefix  string // of the channels' names; if empty, "bench:"
	Command string // that publishes; if empty, FunctionCommand
	Redis   string // host and port

	Streams  int
	Channels int // a divisor of Streams
	Payload  int // bytes of an event; if zero, 200

	Time time.Duration // of publishing
	Rate float64       // events per second, over all channels
	// Window is how many events may be on their way to a stream, on average, if
	// Rate is zero. If zero, 64.
	Window int
	Storm  bool
	// Settle is how long streams rest before their memory is taken. If zero, 2 s.
	Settle time.Duration

	Server      int // process ids; zero for those that are not to be looked at
	RedisServer int
}

// Result is what a plan came to. Counts of deliveries are over all streams.
type Result struct {
	Tally
	OpenTime  time.Duration // until all streams were open
	Published uint64
	Refused   uint64        // by Redis
	Time      time.Duration // from the first event to the last delivery
	// Lag is how much the publisher was behind its pace at worst.
	Lag time.Duration

	Before, Idle, End   Usage         // of the server: before the streams, with them at rest, at the end
	ServerCPU, RedisCPU time.Duration // while events were published and delivered
	OwnCPU              time.Duration // of this process, likewise
}

// RSSPerStream is how many bytes of the server one stream takes at rest.
func (r *Result) RSSPerStream() float64 {
	return float64(r.Idle.RSS-r.Before.RSS) / float64(max(r.Streaming, 1))
}

// DeliveriesPerSecond is over the whole time of publishing and delivering.
func (r *Result) DeliveriesPerSecond() float64 { return float64(r.Delivered) / r.Time.Seconds() }

// EventsPerSecond likewise.
func (r *Result) EventsPerSecond() float64 { return float64(r.Published) / r.Time.Seconds() }

// CPUPerDelivery is the server's time for one delivery.
func (r *Result) CPUPerDelivery() time.Duration {
	return r.ServerCPU / time.Duration(max(r.Delivered, 1))
}

// RedisCPUPerEvent is Redis' time for one event.
func (r *Result) RedisCPUPerEvent() time.Duration {
	return r.RedisCPU / time.Duration(max(r.Published, 1))
}

const (
	connectTimeout = time.Minute
	stormTimeout   = 30 * time.Second
	// quiet is how long nothing comes before what is missing counts as lost.
	quiet = 2 * time.Second
)

func (p *Plan) defaults() error {
	if p.Streams <= 0 || p.Channels <= 0 || p.Streams%p.Channels != 0 {
		return fmt.Errorf("%d streams on %d channels: want the same number, one or more, on each", p.Streams, p.Channels)
	}
	if p.Storm && (p.Time <= 0 || p.Rate <= 0) {
		return fmt.Errorf("a storm needs a time and a rate of events")
	}
	if p.Prefix == "" {
		p.Prefix = "bench:"
	}
	if p.Command == "" {
		p.Command = FunctionCommand
	}
	if p.Payload == 0 {
		p.Payload = 200
	}
	if p.Window == 0 {
		p.Window = 64
	}
	if p.Settle == 0 {
		p.Settle = 2 * time.Second
	}
	return nil
}

// Run carries a plan out. What went wrong with single streams or events is in
// the result; an error means that there is no result.
func Run(ctx context.Context, p Plan) (*Result, error) {
	if err := p.defaults(); err != nil {
		return nil, err
	}
	names := make([]string, p.Channels)
	for i := range names {
		names[i] = p.Prefix + strconv.Itoa(i)
	}
	r := &run{plan: p, ledger: NewLedger(p.Channels)}
	if err := r.look(&r.Before, nil); err != nil {
		return nil, err
	}
	var err error
	r.client, err = NewClient(ClientOptions{URL: p.URL, Token: p.Token, Channels: names, Streams: p.Streams}, r.ledger)
	if err != nil {
		return nil, err
	}
	defer r.client.Close()
	opening, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	begin := time.Now()
	if err := r.client.Connect(opening); err != nil {
		return nil, err
	}
	r.OpenTime = time.Since(begin)
	if err := pause(ctx, p.Settle); err != nil {
		return nil, err
	}
	if err := r.look(&r.Idle, nil); err != nil {
		return nil, err
	}
	if p.Time > 0 {
		if err := r.publish(ctx, names); err != nil {
			return nil, err
		}
	}
	r.Tally = r.client.Tally()
	r.Published = r.ledger.published()
	return &r.Result, nil
}

// run is a plan on its way to a result.
type run struct {
	Result
	plan      Plan
	ledger    *Ledger
	client    *Client
	publisher *Publisher
}

// look reads the usage of the server and, where asked for, of Redis.
func (r *run) look(server, redis *Usage) (err error) {
	if r.plan.Server != 0 {
		if *server, err = ReadUsage(r.plan.Server); err != nil {
			return err
		}
	}
	if r.plan.RedisServer != 0 && redis != nil {
		*redis, err = ReadUsage(r.plan.RedisServer)
	}
	return err
}

func (r *run) publish(ctx context.Context, names []string) error {
	var err error
	r.publisher, err = NewPublisher(r.plan.Redis, r.plan.Command, names, r.plan.Payload, r.ledger)
	if err != nil {
		return err
	}
	defer r.publisher.Close()
	var server, redis, redisEnd Usage
	if err := r.look(&server, &redis); err != nil {
		return err
	}
	own, err := ReadUsage(os.Getpid())
	if err != nil {
		return err
	}
	begin := time.Now()
	switch {
	case r.plan.Storm:
		err = r.storm(ctx)
	case r.plan.Rate > 0:
		err = r.paced(ctx, r.plan.Time)
	default:
		err = r.windowed(ctx)
	}
	if err != nil {
		return err
	}
	last, err := r.drain(ctx)
	if err != nil {
		return err
	}
	r.Time = last.Sub(begin)
	if err := r.look(&r.End, &redisEnd); err != nil {
		return err
	}
	ownEnd, err := ReadUsage(os.Getpid())
	if err != nil {
		return err
	}
	r.OwnCPU = ownEnd.CPU - own.CPU
	r.ServerCPU, r.RedisCPU = r.End.CPU-server.CPU, redisEnd.CPU-redis.CPU
	var first error
	if r.Refused, first = r.publisher.Errors(); first != nil {
		return fmt.Errorf("publish: %w (%d events)", first, r.Refused)
	}
	return nil
}

// paced publishes at the plan's rate, round the channels.
func (r *run) paced(ctx context.Context, limit time.Duration) error {
	begin := time.Now()
	for n := 0; ; {
		elapsed := time.Since(begin)
		if elapsed >= limit || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for due := r.due(n); due <= elapsed; due = r.due(n) {
			r.Lag = max(r.Lag, elapsed-due)
			if err := r.publisher.Publish(n % r.plan.Channels); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
			n++
		}
		if err := r.publisher.Flush(); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		time.Sleep(min(r.due(n), limit) - time.Since(begin))
	}
}

// due is when event n is, after the begin.
func (r *run) due(n int) time.Duration {
	return time.Duration(float64(n) / r.plan.Rate * float64(time.Second))
}

// windowed publishes as fast as events are delivered.
func (r *run) windowed(ctx context.Context) error {
	perEvent := int64(r.plan.Streams / r.plan.Channels)
	window := int64(r.plan.Window * r.plan.Streams)
	var sent, forgiven int64 // deliveries that were caused, and that are not awaited any more
	end := time.Now().Add(r.plan.Time)
	for n := 0; ; {
		away := sent - forgiven - int64(r.ledger.settled.Load())
		if away < 0 { // what was forgiven came
			forgiven, away = forgiven+away, 0
		}
		// In groups, as a busy publisher's pipeline has them, not one by one.
		if away <= window-window/8 {
			for ; away+perEvent <= window; away += perEvent {
				if err := r.publisher.Publish(n % r.plan.Channels); err != nil {
					return fmt.Errorf("publish: %w", err)
				}
				sent += perEvent
				n++
			}
			if err := r.publisher.Flush(); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
		rest := time.Until(end)
		if rest <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.ledger.moved:
		case <-time.After(min(rest, quiet/4)):
			// What was lost at a stream's end would keep the window shut.
			forgiven = sent - int64(r.ledger.settled.Load())
		}
	}
}

// storm drops all streams while events are paced, and waits until they have
// caught up.
func (r *run) storm(ctx context.Context) error {
	if err := r.paced(ctx, r.plan.Time/2); err != nil {
		return err
	}
	pacing, stop := context.WithCancel(ctx)
	defer stop()
	paced := make(chan error, 1)
	rest := *r // its Lag is its own
	go func() { paced <- rest.paced(pacing, stormTimeout) }()
	r.client.Drop()
	limit, cancel := context.WithTimeout(ctx, stormTimeout)
	defer cancel()
	err := r.client.AwaitCaughtUp(limit)
	if err == nil {
		err = pause(ctx, r.plan.Time/2)
	}
	stop()
	if stopped := <-paced; !errors.Is(stopped, context.Canceled) {
		err = errors.Join(err, stopped)
	}
	r.Lag = max(r.Lag, rest.Lag)
	return err
}

// drain waits until everything has come, or nothing comes any more, and returns
// when the last thing came.
func (r *run) drain(ctx context.Context) (last time.Time, err error) {
	expected := r.ledger.published() * uint64(r.plan.Streams/r.plan.Channels)
	last = time.Now()
	for seen := r.ledger.settled.Load(); ; {
		if now := r.ledger.settled.Load(); now > seen {
			seen, last = now, time.Now()
		}
		if seen >= expected || time.Since(last) > quiet {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return last, context.Cause(ctx)
		case <-r.ledger.moved:
		case <-time.After(quiet / 4):
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
