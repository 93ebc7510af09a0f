package redisbus

import (
	"context"
	"errors"
	"time"

	"realtime-gateway/pkg/channels"
)

// heartbeat renews this replica's lease and takes and gives up roles.
func (r *recorder) heartbeat(ctx context.Context) {
	patterns := recordPatterns(r.bus.o.Policies, r.bus.keys)
	passedOn := make(map[string]time.Time)
	begun := time.Now()
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	for {
		if !r.leaving() {
			err := r.renew(ctx)
			if err != nil && ctx.Err() == nil {
				r.renewErr.Store(&err)
			} else {
				r.renewErr.Store(nil)
			}
			// Where only the master is away that has the leases, what can be heard is
			// still recorded: as stand-in, whatever the rank, which is known no more.
			unleased := err != nil && r.bus.target.clustered() && r.askClock(ctx) == nil
			if err == nil || unleased {
				now := time.Now()
				r.takeRoles(patterns, passedOn, now, unleased || now.Sub(begun) < young)
			}
		}
		select {
		case <-ticker.C:
		case <-r.beat:
		case <-ctx.Done():
			return
		}
	}
}

// beatNow has the lease renewed at once.
func (r *recorder) beatNow() {
	select {
	case r.beat <- struct{}{}:
	default:
	}
}

// want subscribes the link, and remembers what has not been confirmed yet.
func (r *recorder) want(names ...topicName) {
	r.mu.Lock()
	for _, n := range names {
		r.deafTo[n] = true
	}
	r.mu.Unlock()
	r.link.want(names...)
}

// settle notes that all is heard as soon as it is.
func (r *recorder) settle() {
	r.mu.Lock()
	all := r.joined && len(r.deafTo) == 0
	r.mu.Unlock()
	if all && !r.hearing.Swap(true) {
		r.bus.changed(nil)
	}
}

// renew tells Redis that this replica lives, and learns who else does.
func (r *recorder) renew(ctx context.Context, leave ...any) error {
	ctx, cancel := context.WithTimeout(ctx, lease/2)
	defer cancel()
	r.leasing.Lock() // a renewal in flight must not undo leaving
	defer r.leasing.Unlock()
	if len(leave) == 0 && r.leaving() {
		return errLeaving
	}
	of := r.breaks.Load()
	args := append([]any{r.bus.o.Replica, lease.Milliseconds()}, leave...)
	answer, err := r.bus.call.queue(ctx, r.bus.client, fnJoin, r.bus.keys.replicas(), args...).StringSlice()
	if err != nil {
		return r.bus.call.without.explained(err, "run "+fnJoin+" on the key "+r.bus.keys.replicas())
	}
	now, err := channels.ParsePosition(answer[0] + "-0")
	if err != nil {
		return err
	}
	// Rather a little behind than ahead: see listensFrom.
	r.clock.Store(int64(now.Millis) - time.Now().UnixMilli())
	r.clockOf.Store(of)
	r.mu.Lock()
	r.live = answer[1:]
	r.mu.Unlock()
	return nil
}

// askClock asks any master for the Redis time.
func (r *recorder) askClock(ctx context.Context) (err error) {
	of := r.breaks.Load()
	for range 5 { // each time another node, and some may be away
		asking, cancel := context.WithTimeout(ctx, askTimeout)
		var now time.Time
		now, err = r.bus.client.Time(asking).Result()
		cancel()
		if err == nil {
			r.clock.Store(now.UnixMilli() - time.Now().UnixMilli())
			r.clockOf.Store(of)
			return nil
		}
	}
	return err
}

func (r *recorder) takeRoles(patterns []string, passedOn map[string]time.Time, now time.Time, isYoung bool) {
	defer r.settle()
	r.mu.Lock()
	r.joined = true
	firsts, seconds := 0, 0
	var want, unwant []topicName
	for _, p := range patterns {
		place := 2 // before the first lease
		if r.live != nil {
			place = rank(p, r.bus.o.Replica, r.live)
		}
		_, listening := r.first[p]
		if place < 2 || isYoung {
			delete(passedOn, p)
			r.first[p] = place == 0
			if !listening {
				r.since[p] = r.listensFrom()
				want = append(want, topicName{text: p, pattern: true})
			}
			switch place {
			case 0:
				firsts++
			case 1:
				seconds++
			}
			continue
		}
		if !listening {
			continue
		}
		since, ok := passedOn[p]
		if !ok {
			passedOn[p] = now
		} else if now.Sub(since) > handOver {
			delete(passedOn, p)
			delete(r.first, p)
			delete(r.since, p)
			n := topicName{text: p, pattern: true}
			delete(r.deafTo, n)
			unwant = append(unwant, n)
		}
	}
	r.mu.Unlock()
	if len(want) > 0 {
		r.want(want...)
	}
	if len(unwant) > 0 {
		r.link.unwant(unwant...)
	}
	if h := r.bus.o.Hooks.Roles; h != nil {
		h(firsts, seconds)
	}
}

func (r *recorder) leaving() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left
}

// leave ends this replica's lease, so that others take over with their next
// heartbeat, and waits for that.
func (r *recorder) leave(ctx context.Context) error {
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	if err := r.renew(ctx, "leave"); err != nil || len(r.replicas()) == 0 {
		return err
	}
	select {
	case <-time.After(takeOver):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *recorder) replicas() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.live...)
}

var errLeaving = errors.New("this replica is leaving")
