package redisbus

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/retry"
)

var readRetry = retry.Policy{Initial: 20 * time.Millisecond, Max: 2 * time.Second}

// tryFor bounds the attempts of one call. Redis may be away for longer, but who
// waits here keeps others from trying; they ask again when it is back.
const tryFor = 10 * time.Second

// try runs a call until Redis answers it, for tryFor at most, or until ctx
// ends.
func (b *Bus) try(ctx context.Context, what, channel string, op func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	err := readRetry.Do(ctx, func(ctx context.Context) error {
		begin := time.Now()
		err := op(ctx)
		if isUnloaded(err) {
			b.reloadNow()
		}
		if err == nil && b.o.Hooks.RTT != nil {
			b.o.Hooks.RTT(time.Since(begin))
		}
		return permanent(err)
	}, nil)
	if err != nil {
		return fmt.Errorf("redisbus: %s of %q: %w", what, channel, err)
	}
	return nil
}

// Open implements channels.Broker.
func (b *Bus) Open(ctx context.Context, names []string) []channels.Top {
	return b.tops(ctx, fnOpen, names)
}

// Renew implements channels.Broker.
func (b *Bus) Renew(ctx context.Context, names []string) []channels.Top {
	return b.tops(ctx, fnOpen, names, "renew")
}

// Tops implements channels.Broker.
func (b *Bus) Tops(ctx context.Context, names []string) []channels.Top {
	return b.tops(ctx, fnLast, names)
}

func (b *Bus) tops(ctx context.Context, function string, names []string, args ...any) []channels.Top {
	cmds := make([]*redis.Cmd, len(names))
	b.together(ctx, func(ctx context.Context, p redis.Pipeliner) {
		for i, name := range names {
			cmds[i] = b.call.queue(ctx, p, function, b.keys.stream(name), args...)
		}
	})
	tops := make([]channels.Top, len(names))
	for i, cmd := range cmds {
		text, err := cmd.Text()
		if err == nil && text != "-" {
			tops[i].Position, err = channels.ParsePosition(text)
		}
		tops[i].Err = b.noted(err)
	}
	return tops
}

// Tails implements channels.Broker.
func (b *Bus) Tails(ctx context.Context, requests []channels.TailRequest) []channels.Tail {
	cmds := make([]*redis.XMessageSliceCmd, len(requests))
	b.together(ctx, func(ctx context.Context, p redis.Pipeliner) {
		for i, r := range requests {
			cmds[i] = p.XRangeN(ctx, b.keys.stream(r.Channel), r.From.String(), "+", int64(r.Limit))
		}
	})
	tails := make([]channels.Tail, len(requests))
	for i, cmd := range cmds {
		entries, err := cmd.Result()
		tails[i] = channels.Tail{Events: events(entries), Err: b.noted(err)}
	}
	return tails
}

// together runs a pipeline once. Its commands hold what became of them.
func (b *Bus) together(ctx context.Context, queue func(context.Context, redis.Pipeliner)) {
	ctx, cancel := context.WithTimeout(ctx, 2*ioTimeout)
	defer cancel()
	begin := time.Now()
	err := pipelined(ctx, b.client, func(p redis.Pipeliner) { queue(ctx, p) })
	if err == nil && b.o.Hooks.RTT != nil {
		b.o.Hooks.RTT(time.Since(begin))
	}
}

// noted passes an error on, and has the library loaded where that is the cure.
func (b *Bus) noted(err error) error {
	if isUnloaded(err) {
		b.reloadNow()
	}
	return b.call.without.explained(err, "open and read channels")
}

// MarkLost implements channels.Broker.
func (b *Bus) MarkLost(ctx context.Context, channel string, lost channels.Loss, younger time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*ioTimeout)
	defer cancel()
	text, err := b.call.queue(ctx, b.client, fnLost, b.keys.stream(channel), lost.Upto.String(), lost.After.String(), younger.Milliseconds()).Text()
	if err == nil {
		return text != "", nil
	}
	if isRefusal(err) {
		b.log.Warn("redis takes no record of events that it has lost; clients that were away are not told", "channel", channel, "error", err)
		return false, nil
	}
	return false, fmt.Errorf("redisbus: record what %q has lost: %w", channel, b.noted(err))
}

// Read implements channels.Broker.
func (b *Bus) Read(ctx context.Context, channel string, after channels.Position, limit int) ([]channels.Event, error) {
	if after.Millis == math.MaxUint64 && after.Seq == math.MaxUint64 {
		return nil, nil // Redis takes no range that begins behind the last position there can be
	}
	var entries []redis.XMessage
	err := b.try(ctx, "read history", channel, func(ctx context.Context) error {
		var err error
		entries, err = b.client.XRangeN(ctx, b.keys.stream(channel), "("+after.String(), "+", int64(limit)).Result()
		return err
	})
	return events(entries), err
}

// Newest implements channels.Broker.
func (b *Bus) Newest(ctx context.Context, channel string, limit int) ([]channels.Event, error) {
	var entries []redis.XMessage
	err := b.try(ctx, "read the end of history", channel, func(ctx context.Context) error {
		var err error
		entries, err = b.client.XRevRangeN(ctx, b.keys.stream(channel), "+", "-", int64(limit)).Result()
		return err
	})
	for i, j := 0, len(entries)-1; i < j; i, j = i+1, j-1 {
		entries[i], entries[j] = entries[j], entries[i]
	}
	return events(entries), err
}

// events reads entries; one that is none of gateway.lua's is marked foreign.
func events(entries []redis.XMessage) []channels.Event {
	list := make([]channels.Event, 0, len(entries))
	for _, m := range entries {
		e, _, ok := parseEntry(m)
		if !ok {
			e = channels.Event{Position: e.Position, Foreign: true}
		}
		list = append(list, e)
	}
	return list
}
