package redisbus

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/retry"
)

// Options configure a Bus.
type Options struct {
	URL      string            // required; see package config for its forms
	Prefix   string            // of every key; if empty, DefaultPrefix
	Policies channels.Policies // carried into Redis for publishers
	// MaxPayload is the longest payload in bytes. If zero, 256 KiB.
	MaxPayload int
	// Replica names this process among the live ones. If empty, a random name.
	Replica string
	Hooks   Hooks
	Logger  *slog.Logger // if nil, slog.Default()
}

// Hooks are optional observers; nil fields are skipped. They must not block.
type Hooks struct {
	State    func(up bool)                 // Redis came or went
	Recorded func(first bool)              // a plain payload was recorded, by the first recorder or its stand-in
	Rejected func(reason string)           // a plain payload was not accepted: "payload", "prefix" or "overload"
	Roles    func(first, second int)       // of how many patterns this replica is recorder
	RTT      func(roundTrip time.Duration) // of one call
}

// DefaultMaxPayload is the longest payload in bytes unless configured.
const DefaultMaxPayload = 256 << 10

// Bus is the channels.Broker on Redis. Safe for concurrent use.
type Bus struct {
	o       Options
	keys    keys
	target  *target
	client  redis.UniversalClient
	sharded atomic.Bool // channels are announced in their shards
	shared  [2]*library // announcing everywhere, and in shards
	loader  *loader
	call    caller
	link    *link
	record  *recorder
	log     *slog.Logger

	to      channels.Receiver // set by Run
	reload  chan struct{}     // asks for loader.ensure now
	loaded  atomic.Bool       // the library has been there since Redis came back
	stateMu sync.Mutex
	known   bool // the state has been told
	state   bool
}

var _ channels.Broker = (*Bus)(nil)

// Open returns a Bus for the server that o.URL names. It connects to nothing
// until Run; the error is about the options.
func Open(o Options) (*Bus, error) {
	t, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if err := checkPrefix(o.Prefix); err != nil {
		return nil, err
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = DefaultMaxPayload
	}
	if o.Replica == "" {
		o.Replica = rand.Text()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	b := &Bus{
		o: o, keys: keys{o.Prefix}, target: t, client: t.client(), log: o.Logger,
		shared: [2]*library{
			newLibrary(o.Prefix, o.MaxPayload, o.Policies, announceEverywhere),
			newLibrary(o.Prefix, o.MaxPayload, o.Policies, announceInShard),
		},
		reload: make(chan struct{}, 1),
	}
	b.loader = &loader{client: b.client, library: b.library, keys: b.keys, log: o.Logger}
	b.call = caller{client: b.client, library: b.library, functions: b.loader.functions}
	b.link = newLink(rand.Text(), t, b.client, b.keys, (*announcements)(b), b.changed, o.Logger)
	b.record = newRecorder(b)
	return b, nil
}

// library is the one that fits this Redis.
func (b *Bus) library() *library {
	if b.sharded.Load() {
		return b.shared[1]
	}
	return b.shared[0]
}

// Run hears announcements and hands them to r until ctx ends. It never gives
// up on a Redis that is away. Call it once.
func (b *Bus) Run(ctx context.Context, r channels.Receiver) error {
	b.to = r
	defer b.client.Close()
	var parts sync.WaitGroup
	for _, part := range []func(context.Context){b.keepLoaded, b.link.run, b.record.run} {
		parts.Go(func() { part(ctx) })
	}
	parts.Wait()
	return context.Cause(ctx)
}

// Leave gives the recorder's role to the other replicas; what was heard is
// still recorded. Call it when the process is going to end.
func (b *Bus) Leave(ctx context.Context) error { return b.record.leave(ctx) }

// Replicas returns the names of the live replicas, as last seen.
func (b *Bus) Replicas() []string { return b.record.replicas() }

// Ready tells whether events are heard, plain ones too, and the library is
// loaded.
func (b *Bus) Ready() bool { return b.link.up.Load() && b.loaded.Load() && b.record.hearing.Load() }

// CheckChannel implements channels.Broker.
func (b *Bus) CheckChannel(channel string) error { return b.keys.check(channel) }

// Subscribe implements channels.Broker.
func (b *Bus) Subscribe(channel string, plain bool) {
	if plain {
		// First, so that it stands when the stream's subscription is confirmed.
		b.link.want(topicName{text: channel}, topicName{text: b.keys.stream(channel)})
		return
	}
	b.link.want(topicName{text: b.keys.stream(channel)})
}

// Unsubscribe implements channels.Broker.
func (b *Bus) Unsubscribe(channel string, plain bool) {
	if plain {
		b.link.unwant(topicName{text: channel}, topicName{text: b.keys.stream(channel)})
		return
	}
	b.link.unwant(topicName{text: b.keys.stream(channel)})
}

// keepLoaded keeps the library in Redis.
func (b *Bus) keepLoaded(ctx context.Context) {
	backoff := retry.Backoff{Policy: linkRetry}
	for ctx.Err() == nil {
		wait := ensureInterval
		if err := b.loader.ensure(ctx); err != nil {
			wait = backoff.Next()
			b.loaded.Store(false)
			b.changed(false, fmt.Errorf("load the library: %w", err))
		} else {
			backoff.Reset()
			if !b.loaded.Swap(true) {
				b.record.beatNow()
			}
			b.changed(true, nil)
		}
		select {
		case <-time.After(wait):
		case <-b.reload:
		case <-ctx.Done():
		}
	}
}

// reloadNow has the library checked at once.
func (b *Bus) reloadNow() {
	select {
	case b.reload <- struct{}{}:
	default:
	}
}

// changed notes that a part's state may have changed, and tells the log and
// the hooks of a change of the whole: one line when Redis goes, one when it is
// back.
func (b *Bus) changed(up bool, err error) {
	b.stateMu.Lock()
	defer b.stateMu.Unlock()
	if up {
		if !b.Ready() {
			return
		}
	}
	if b.known && b.state == up {
		return
	}
	b.known, b.state = true, up
	if up {
		b.log.Info("redis is here")
	} else {
		b.log.Warn("redis is away; streams stay open and are caught up when it is back", "error", err)
	}
	if b.o.Hooks.State != nil {
		b.o.Hooks.State(up)
	}
}

// announcements is the Bus as listener of its own link.
type announcements Bus

func (a *announcements) confirmed(n topicName) {
	if channel, ok := a.keys.channel(n.text); ok {
		a.to.Confirmed(channel)
	}
}

func (a *announcements) message(_, name, text string) {
	channel, ok := a.keys.channel(name)
	if !ok {
		a.plain(name, text)
		return
	}
	e, err := parseAnnouncement(text)
	if err != nil {
		a.record.reject(name, "prefix")
		a.to.Unclear(channel)
		return
	}
	a.to.Announced(channel, e)
}

// plain passes on a payload of a channel without history. Nothing in Redis
// numbers it, so its position is this replica's own time.
func (a *announcements) plain(channel, payload string) {
	if reason := rejects(payload, a.o.MaxPayload); reason != "" {
		a.record.reject(channel, reason)
		return
	}
	a.to.Announced(channel, channels.Event{Position: a.record.localPosition(), Payload: payload})
}

func (a *announcements) deaf(names []topicName) {
	list := make([]string, 0, len(names))
	for _, n := range names {
		if channel, ok := a.keys.channel(n.text); ok {
			list = append(list, channel)
		}
	}
	if len(list) > 0 {
		a.to.Deaf(list)
	}
}
