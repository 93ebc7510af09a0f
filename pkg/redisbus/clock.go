package redisbus

import (
	"time"

	"realtime-gateway/pkg/channels"
)

// redisTime is what Redis' clock showed at a local time, as far as is known here.
func (r *recorder) redisTime(at time.Time) channels.Position {
	return channels.Position{Millis: uint64(max(0, at.UnixMilli()+r.clock.Load()))}
}

// Now returns the time by Redis' clock, as far as is known here: it is asked for
// once a second, and the present time until it first was. The clocks of replicas
// may differ, that of Redis dates the events.
func (b *Bus) Now() time.Time {
	return time.Now().Add(time.Duration(b.record.clock.Load()) * time.Millisecond)
}

// listensFrom is now, or rather a little earlier: no record of what is heard from
// now on is older by Redis' clock, which is known with an error, and in a Cluster
// is that of another node than the one that records.
func (r *recorder) listensFrom() time.Time {
	if r.bus.target.clustered() {
		return time.Now().Add(-clockSlack)
	}
	// The shorter, the sooner after a restart the same payload is a new one.
	return time.Now().Add(-listenSlack)
}

// localPosition returns a position by this replica's knowledge of the Redis
// time, never the same one twice.
func (r *recorder) localPosition() channels.Position {
	micros := time.Now().UnixMicro() + r.clock.Load()*1000
	for {
		last := r.unique.Load()
		next := max(micros, last+1)
		if r.unique.CompareAndSwap(last, next) {
			// From 1000 on: below are the positions that gateway.lua gives.
			return channels.Position{Millis: uint64(next / 1000), Seq: uint64(1000 + next%1000)}
		}
	}
}
