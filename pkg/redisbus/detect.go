package redisbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/retry"
)

// detect finds out whether announcements can go by shards: whether all masters
// know sharded Pub/Sub, and allow it. It asks until all have answered that are
// not away; a gateway that starts while one is away serves the others.
func (b *Bus) detect(ctx context.Context) {
	backoff := retry.Backoff{Policy: linkRetry}
	for ctx.Err() == nil {
		sharded, err := b.knowShards(ctx)
		if err == nil {
			b.decide(sharded)
			return
		}
		if !errors.Is(err, errNoAnswerYet) { // at first nobody can have answered
			b.failedToDetect(err)
		}
		select {
		case <-time.After(backoff.Next()):
		case <-ctx.Done():
		}
	}
}

func (b *Bus) knowShards(ctx context.Context) (bool, error) {
	t := b.watch.latest.Load()
	if t == nil {
		if err := b.watch.trouble(); err != nil {
			return false, fmt.Errorf("ask for the slots of the cluster: %w", err)
		}
		return false, errNoAnswerYet
	}
	var mu sync.Mutex
	var asked sync.WaitGroup
	all, owners := true, 0
	var failed error
	for _, m := range t.masters {
		if m.slots == 0 || !m.answered {
			continue
		}
		owners++
		asked.Go(func() {
			known, err := knowsShards(ctx, asking(b.target.clusterNode(m.addr)), b.keys.probe("start"))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = fmt.Errorf("ask master %s for sharded Pub/Sub: %w", m.addr, err)
			}
			all = all && known
		})
	}
	asked.Wait()
	if failed == nil && owners == 0 {
		failed = fmt.Errorf("no master of the cluster that answers owns slots")
	}
	return all, failed
}

// knowsShards tries both commands. That a slot is elsewhere, or the cluster is
// down, says that they are known.
func knowsShards(ctx context.Context, o *redis.Options, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	client := redis.NewClient(o)
	defer client.Close()
	known, err := understood(client.SPublish(ctx, name, "").Err())
	if !known || err != nil {
		return false, err
	}
	pubsub := client.SSubscribe(ctx, name)
	defer pubsub.Close()
	_, err = pubsub.ReceiveTimeout(ctx, askTimeout)
	return understood(err)
}

// checkSingle refuses a node of a Cluster that was named as if it were the whole
// of Redis: its library would be replaced by one that announces elsewhere.
func (b *Bus) checkSingle(ctx context.Context) error {
	if b.target.single == nil {
		return nil
	}
	// Other servers do not know the command, and it may be forbidden.
	info, err := b.client.ClusterInfo(ctx).Result()
	if err == nil && strings.Contains(info, "cluster_state:") {
		return fmt.Errorf("%s is a node of a Cluster: use redis+cluster://%s in the Redis URL", b.target.single.Addr, b.target.single.Addr)
	}
	return nil
}

func understood(err error) (bool, error) {
	switch {
	case err == nil:
		return true, nil
	case strings.HasPrefix(strings.ToLower(err.Error()), "err unknown command"), redis.IsPermissionError(err):
		return false, nil
	case redis.IsClusterDownError(err):
		return true, nil
	}
	if _, moved := redis.IsMovedError(err); moved {
		return true, nil
	}
	return false, err
}

// found says what kind of Redis this is, for the log.
func (b *Bus) found(ctx context.Context) []any {
	kind, masters := "single", 1
	switch {
	case b.target.sentinel != nil:
		kind = "sentinel"
	case b.watch != nil:
		kind, masters = "cluster", 0
		if t := b.watch.latest.Load(); t != nil {
			for _, m := range t.masters {
				if m.slots > 0 {
					masters++
				}
			}
		}
	}
	list := []any{"kind", kind, "masters", masters, "sharded", b.sharded.Load()}
	if b.sentinels != nil {
		list = append(list, "master", b.sentinels.current())
	}
	// INFO may be forbidden.
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if info, err := b.client.Info(ctx, "server").Result(); err == nil {
		if _, after, ok := strings.Cut(info, "redis_version:"); ok {
			version, _, _ := strings.Cut(after, "\r\n")
			list = append(list, "version", version)
		}
	}
	return list
}
