package redisbus

import (
	"context"
	"crypto/rand"
	"errors"
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
	TLS      TLS               // files for a URL that begins with rediss
	Prefix   string            // of every key; if empty, DefaultPrefix
	Policies channels.Policies // carried into Redis for publishers
	// MaxPayload is the longest payload in bytes. If zero, 256 KiB.
	MaxPayload int
	// Replica names this process among the live ones. If empty, a random name.
	Replica string
	// DeafAfter is how long a subscription connection may be silent, while a
	// probe is sent every third of it, before it is given up. If zero,
	// DefaultDeafAfter.
	DeafAfter time.Duration
	// Links is how many subscription connections share the channels of one
	// server. If zero, 1. A Cluster has one to each master in any case.
	Links  int
	Guard  Guard // hears of revocations; nil where nobody has rights to lose
	Hooks  Hooks
	Logger *slog.Logger // if nil, slog.Default()
}

// Hooks are optional observers; nil fields are skipped. They must not block.
type Hooks struct {
	State    func(up bool)                 // Redis came or went
	Recorded func(first bool)              // a plain payload was recorded, by the first recorder or its stand-in
	Rejected func(reason string)           // a plain payload was not accepted: "payload", "policy", "prefix" or "overload"
	Roles    func(first, second int)       // of how many patterns this replica is recorder
	RTT      func(roundTrip time.Duration) // of one call
	// Links tells of how many subscription connections that are wanted are up.
	Links func(up, wanted int)
	Lost  func(reason LinkLoss)         // a subscription connection that was up was given up
	Probe func(roundTrip time.Duration) // from publishing to hearing it
}

// DefaultMaxPayload is the longest payload in bytes unless configured.
const DefaultMaxPayload = 256 << 10

// DefaultDeafAfter is how long a subscription connection may be silent unless
// configured.
const DefaultDeafAfter = 6 * time.Second

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
	record  *recorder
	log     *slog.Logger

	// What is heard comes by links, and in a Cluster with sharded Pub/Sub the
	// announcements by shards.
	links     trunk
	shards    *shards
	watch     *watcher   // nil unless a Cluster
	dialer    *dialer    // of the cluster's commands
	sentinels *sentinels // nil unless Sentinels

	to      channels.Receiver // set by Run
	reload  chan struct{}     // asks for loader.ensure now
	loaded  atomic.Bool       // the library has been there since Redis came back
	routing routing

	loadErr   atomic.Pointer[error] // what is wrong with the library
	detectErr atomic.Pointer[error] // why it is not known yet how to announce

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
	if err := t.secure(o.TLS); err != nil {
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
	if o.DeafAfter == 0 {
		o.DeafAfter = DefaultDeafAfter
	}
	b := &Bus{
		o: o, keys: keys{o.Prefix}, target: t, log: o.Logger,
		shared: [2]*library{
			newLibrary(o.Prefix, o.MaxPayload, o.Policies, announceEverywhere),
			newLibrary(o.Prefix, o.MaxPayload, o.Policies, announceInShard),
		},
		reload: make(chan struct{}, 1),
	}
	switch {
	case t.sentinel != nil:
		b.sentinels = newSentinels(t.sentinel)
		b.client = b.sentinels.commands()
	case t.cluster != nil:
		b.watch = newWatcher(t.cluster.Addrs, t.clusterNode)
		b.watch.changed = b.topologyChanged
		b.dialer = newDialer(t.cluster.TLSConfig)
		t.cluster.ClusterSlots, t.cluster.Dialer = b.watch.slots, b.dialer.connect
	}
	if b.client == nil {
		b.client = t.client()
	}
	b.loader = &loader{client: b.client, library: b.library, keys: b.keys, log: o.Logger, found: b.found, spare: b.spareMasters, by: identity{replica: o.Replica}, gone: b.replicaGone}
	b.call = caller{client: b.client, library: b.library, functions: b.loader.functions, without: &b.loader.without}
	n := o.Links
	if t.clustered() {
		n = 1 // each master has its own, and this one hears little
	}
	b.links = newTrunk(n, b.ordinaryLink, (*announcements)(b))
	b.record = newRecorder(b)
	if b.sentinels != nil {
		b.sentinels.moved = func(addr string) {
			b.links.leave(addr)
			b.record.link.leave(addr)
		}
	}
	if b.watch != nil {
		b.shards = newShards(b.watch, t.clusterNode, b.shardLink(), b.keys.probe, (*announcements)(b))
	} else {
		b.decide(false)
	}
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
	if b.sentinels != nil {
		defer b.sentinels.close()
	}
	if b.watch != nil {
		parts.Go(func() { b.watch.run(ctx) })
		// The library to load and the links depend on it.
		b.detect(ctx)
	}
	list := []func(context.Context){b.keepLoaded, b.links.run, b.record.run}
	if b.sharded.Load() {
		list = append(list, b.shards.run)
	}
	for _, part := range list {
		parts.Go(func() { part(ctx) })
	}
	parts.Wait()
	return context.Cause(ctx)
}

// Leave gives the recorder's role to the other replicas, if there are any, and
// returns when they have had the time to take it over: about two heartbeats.
// Until then this replica goes on recording. Call it when the process is going
// to end. The error is that of Redis, or of ctx.
func (b *Bus) Leave(ctx context.Context) error { return b.record.leave(ctx) }

// Replicas returns the names of the live replicas, as last seen.
func (b *Bus) Replicas() []string { return b.record.replicas() }

// replicaGone tells that a replica, by its infoName, is not among the live ones,
// as far as this one knows them.
func (b *Bus) replicaGone(name string) bool {
	self, live := false, b.record.replicas()
	for _, r := range live {
		self = self || r == b.o.Replica
		if infoName(r) == name {
			return false
		}
	}
	return self // else it does not know yet
}

// CheckChannel implements channels.Broker.
func (b *Bus) CheckChannel(channel string) error { return b.keys.check(channel) }

// keepLoaded keeps the library in Redis.
func (b *Bus) keepLoaded(ctx context.Context) {
	backoff := retry.Backoff{Policy: linkRetry}
	for ctx.Err() == nil {
		wait := ensureInterval
		var err error
		if !b.loaded.Load() {
			err = b.checkSingle(ctx)
		}
		if err == nil {
			err = b.loader.ensure(ctx)
		}
		if err == nil {
			err = b.checkReading(ctx)
		}
		// Where only some masters are away, the others are served.
		if usable := err == nil || errors.As(err, new(*someAwayError)); !usable {
			b.loaded.Store(false)
		} else if !b.loaded.Swap(true) {
			b.record.beatNow()
		}
		if err != nil {
			err = fmt.Errorf("load the library: %w", err)
			b.loadErr.Store(&err)
			wait = backoff.Next()
		} else {
			b.loadErr.Store(nil)
			backoff.Reset()
		}
		b.changed(err)
		select {
		case <-time.After(wait):
		case <-b.reload:
		case <-ctx.Done():
		}
	}
}

// checkReading tells whether what clients need is not permitted: without it
// everything else would look well.
func (b *Bus) checkReading(ctx context.Context) error {
	name := "-" // a channel and a user that are hardly there
	reads := []struct {
		what string
		try  func(context.Context) error
	}{
		{"read history", func(ctx context.Context) error { return b.client.XRangeN(ctx, b.keys.stream(name), "-", "+", 1).Err() }},
		{"read what was revoked", func(ctx context.Context) error { return b.client.HGetAll(ctx, b.keys.user(name)).Err() }},
	}
	for _, r := range reads {
		if err := r.try(ctx); isDenied(err) {
			return explained(err, r.what)
		}
	}
	return nil
}

// reloadNow has the library checked at once.
func (b *Bus) reloadNow() {
	select {
	case b.reload <- struct{}{}:
	default:
	}
}
