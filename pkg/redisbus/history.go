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
func (b *Bus) Open(ctx context.Context, channel string) (channels.Position, error) {
	var p channels.Position
	err := b.try(ctx, "read the last position", channel, func(ctx context.Context) error {
		text, err := b.call.queue(ctx, b.client, fnOpen, b.keys.stream(channel)).Text()
		if err != nil {
			return err
		}
		p, err = openedAt(text)
		return err
	})
	return p, err
}

func openedAt(text string) (channels.Position, error) {
	if text == "-" {
		return channels.Position{}, nil
	}
	return channels.ParsePosition(text)
}

// Tops implements channels.Broker.
func (b *Bus) Tops(ctx context.Context, names []string) ([]channels.Position, error) {
	cmds := make([]*redis.Cmd, len(names))
	_, err := b.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			cmds[i] = b.call.queue(ctx, p, fnOpen, b.keys.stream(name))
		}
		return nil
	})
	tops := make([]channels.Position, len(names))
	answered := false
	for i, cmd := range cmds {
		text, cmdErr := cmd.Text()
		if isUnloaded(cmdErr) {
			b.reloadNow()
		}
		if cmdErr == nil {
			answered = true
			tops[i], _ = openedAt(text)
		}
	}
	if err != nil && !answered {
		return nil, fmt.Errorf("redisbus: compare the last positions of %d channels: %w", len(names), err)
	}
	return tops, nil
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

// Tail implements channels.Broker.
func (b *Bus) Tail(ctx context.Context, channel string, limit int) ([]channels.Event, error) {
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
