package redisbus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// ordinaryLink is what the links for ordinary Pub/Sub have in common.
func (b *Bus) ordinaryLink() linkOptions {
	o := b.commonLink()
	probe := b.keys.probe(rand.Text())
	o.of = "redis"
	o.probe = func() (string, error) { return probe, nil }
	o.publish = func(ctx context.Context, name, text string) error { return b.client.Publish(ctx, name, text).Err() }
	switch {
	case b.sentinels != nil:
		o.node, o.watch = b.sentinels.master, b.sentinels.watch
	case b.watch != nil:
		o.node, o.misrouted = b.anyMaster, b.watch.kick
	default:
		o.node = func(context.Context) (*redis.Options, error) {
			single := *b.target.single
			return &single, nil
		}
	}
	return o
}

// shardLink is what the links to the masters of a Cluster have in common.
func (b *Bus) shardLink() linkOptions {
	o := b.commonLink()
	o.of, o.sharded, o.misrouted = "master", true, b.watch.kick
	o.publish = func(ctx context.Context, name, text string) error { return b.client.SPublish(ctx, name, text).Err() }
	return o
}

func (b *Bus) commonLink() linkOptions {
	o := linkOptions{
		deafAfter: b.o.DeafAfter, own: b.keys.own, changed: b.changed, log: b.log,
		lost: b.linkLost, probed: b.o.Hooks.Probe,
	}
	if b.o.Guard != nil {
		o.control, o.told, o.refresh = b.keys.revoked(), b.told, b.o.Guard.Refresh
	}
	return o
}

// linkLost has the library looked for at once: a Redis that was started anew may
// have lost it, and be back before anything else tells.
func (b *Bus) linkLost(reason LinkLoss) {
	b.reloadNow()
	if b.o.Hooks.Lost != nil {
		b.o.Hooks.Lost(reason)
	}
}

// anyMaster is where ordinary Pub/Sub of a Cluster is heard: every node carries
// it to every other.
func (b *Bus) anyMaster(context.Context) (*redis.Options, error) {
	t := b.watch.latest.Load()
	if t == nil {
		return nil, b.watch.trouble()
	}
	addr, ok := t.any()
	if !ok {
		return nil, errors.New("no master of the cluster answers")
	}
	return b.target.clusterNode(addr), nil
}

// topologyChanged has everything follow the slots.
func (b *Bus) topologyChanged(t, before *topology) {
	// Unlike ReloadState, this has happened when it returns.
	_ = b.client.(*redis.ClusterClient).ForEachMaster(context.Background(), func(context.Context, *redis.Client) error { return nil })
	if before != nil {
		for id, m := range before.masters {
			if now := t.masters[id]; m.slots > 0 && (now == nil || now.slots == 0 || now.addr != m.addr) {
				b.dialer.cut(m.addr)
				b.links.leaveReplaced(m.addr)
				b.record.link.leaveReplaced(m.addr)
			}
		}
	}
	for _, m := range t.masters {
		if m.slots > 0 {
			b.dialer.back(m.addr)
		}
	}
	b.reloadNow() // a new master does not have the library
	notify(b.shards.kick)
}

// spareMasters are the masters without slots. They need the library before
// they get slots: while one is imported, calls are redirected there already.
func (b *Bus) spareMasters() []*redis.Options {
	var list []*redis.Options
	if b.watch == nil {
		return nil
	}
	if t := b.watch.latest.Load(); t != nil {
		for _, m := range t.masters {
			if m.slots == 0 && m.answered {
				list = append(list, asking(b.target.clusterNode(m.addr)))
			}
		}
	}
	return list
}

// Ready tells whether streams can be served: events of some channels at least
// are heard, and the library is loaded. While one master of a Cluster is away,
// the channels of the others are served; State tells what is not.
func (b *Bus) Ready() bool {
	if !b.links.up() || !b.loaded.Load() {
		return false
	}
	if !b.sharded.Load() {
		return true
	}
	_, up := b.shards.state(time.Now())
	return up > 0
}

// State tells per part whether it does its work, and what is wrong in words
// for an operator. If no part has an error, everything is heard.
func (b *Bus) State() map[string]error {
	now := time.Now()
	if err := b.detectErr.Load(); err != nil {
		return map[string]error{"redis": *err}
	}
	parts := map[string]error{"redis": b.links.trouble(now), "redis plain publish": b.record.link.trouble(now), "redis library": nil}
	if parts["redis plain publish"] == nil && !b.record.hearing.Load() {
		parts["redis plain publish"] = errors.New("not all of what this replica is to record is subscribed yet")
	}
	if err := b.record.renewErr.Load(); err != nil && b.record.link.up.Load() {
		parts["redis plain publish"] = fmt.Errorf("this replica cannot renew its lease as recorder: %w", *err)
	}
	if err := b.loadErr.Load(); err != nil {
		parts["redis library"] = *err
	} else if !b.loaded.Load() {
		parts["redis library"] = errors.New("not loaded yet")
	}
	if b.sharded.Load() {
		troubles, _ := b.shards.state(now)
		for part, err := range troubles {
			parts["redis "+part] = err
		}
	}
	return parts
}

// countLinks counts the subscription connections that are up, and all.
func (b *Bus) countLinks() (up, wanted int) {
	up, wanted = b.links.count(), len(b.links)+1
	if b.record.link.up.Load() {
		up++
	}
	if b.sharded.Load() {
		u, w := b.shards.count()
		up, wanted = up+u, wanted+w
	}
	return up, wanted
}

func (b *Bus) failedToDetect(err error) {
	b.detectErr.Store(&err)
	b.changed(err)
}

// changed notes that a part's state may have changed, and tells the log and
// the hooks of a change of the whole: one line when something of Redis goes,
// one when all is back. err is what went wrong, nil if something got better.
func (b *Bus) changed(err error) {
	b.stateMu.Lock()
	defer b.stateMu.Unlock()
	if b.o.Hooks.Links != nil {
		b.o.Hooks.Links(b.countLinks())
	}
	up := err == nil
	if up {
		for _, trouble := range b.State() {
			if trouble != nil {
				return
			}
		}
	}
	if b.known && b.state == up {
		return
	}
	b.known, b.state = true, up
	switch {
	case up:
		b.log.Info("redis is here", "at", b.links.at())
	case b.Ready():
		b.log.Warn("a part of redis is away; its channels are caught up when it is back", "error", err)
	case redis.IsAuthError(err):
		b.log.Warn("redis does not take the user or the password of its URL; streams stay open and are caught up when it does", "error", err)
	case isDenied(err):
		b.log.Warn("redis denies the user of its URL a right, see docs/redis-acl.md; streams stay open and are caught up when it has it", "error", err)
	default:
		b.log.Warn("redis is away; streams stay open and are caught up when it is back", "error", err)
	}
	if b.o.Hooks.State != nil {
		b.o.Hooks.State(up)
	}
}
