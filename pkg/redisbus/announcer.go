package redisbus

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/retry"
)

// announcer announces events for publishers that lack the right to, and could
// only leave a hint. The event is in its stream, so nothing depends on an order
// here, nor on how often it is announced: who has it drops it, and what is never
// announced is found by the channel's periodic check.
type announcer struct {
	bus  *Bus
	kick chan struct{}

	mu      sync.Mutex
	waiting []*hint // in the order heard; some no longer in at
	at      map[hintKey]*hint

	failed logLimit // owned by run
}

type hintKey struct {
	channel  string
	position channels.Position
}

type hint struct {
	hintKey
	due   time.Time
	tries int
}

// maxHintTries is how often a hint is tried whose announcement Redis does not
// know to make: another replica has loaded an older library.
const maxHintTries = 20

func newAnnouncer(b *Bus) *announcer {
	return &announcer{bus: b, kick: make(chan struct{}, 1), at: make(map[hintKey]*hint)}
}

// heard notes an event to announce, unless it waits already. Beyond maxPending
// it is left to the check. It does not block.
func (a *announcer) heard(channel string, position channels.Position, due time.Time) {
	key := hintKey{channel, position}
	a.mu.Lock()
	if a.at[key] == nil && len(a.waiting) < maxPending {
		h := &hint{hintKey: key, due: due}
		a.at[key] = h
		a.waiting = append(a.waiting, h)
	}
	a.mu.Unlock()
	notify(a.kick)
}

// announced notes that somebody has announced an event. It does not block.
func (a *announcer) announced(channel string, position channels.Position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.at, hintKey{channel, position})
}

// take returns hints whose time has come, and how long the next one has.
func (a *announcer) take(now time.Time, limit int) (due []*hint, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wait = time.Hour
	left := a.waiting[:0]
	for _, h := range a.waiting {
		if a.at[h.hintKey] != h {
			continue
		}
		left = append(left, h)
		switch {
		case h.due.After(now):
			wait = min(wait, h.due.Sub(now))
		case len(due) < limit:
			due = append(due, h)
		default:
			wait = 0
		}
	}
	clear(a.waiting[len(left):])
	a.waiting = left
	return due, wait
}

// put off has a hint tried again later.
func (a *announcer) putOff(h *hint, by time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h.tries++
	h.due = time.Now().Add(by)
}

func (a *announcer) run(ctx context.Context) {
	retrying := retry.Backoff{Policy: linkRetry}
	for ctx.Err() == nil {
		due, wait := a.take(time.Now(), recordBatch)
		if len(due) > 0 {
			if err := a.announce(ctx, due, retrying.Next); err == nil {
				retrying.Reset()
			} else if _, ok := a.failed.allow(time.Now()); ok && a.bus.Ready() {
				a.bus.log.Warn("events of publishers that may not announce cannot be announced at the moment, they wait", "error", err)
			}
			continue
		}
		select {
		case <-a.kick:
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// announce announces these, and puts off for a pause what Redis did not answer.
func (a *announcer) announce(ctx context.Context, due []*hint, pause func() time.Duration) error {
	cmds := make([]*redis.Cmd, len(due))
	a.bus.together(ctx, func(ctx context.Context, p redis.Pipeliner) {
		for i, h := range due {
			cmds[i] = a.bus.call.queue(ctx, p, fnAnnounce, a.bus.keys.stream(h.channel), h.position.String())
		}
	})
	var failed error
	var by time.Duration
	for i, h := range due {
		err := cmds[i].Err()
		switch {
		case err == nil:
			a.announced(h.channel, h.position)
		case isUnloaded(err) && h.tries < maxHintTries:
			a.bus.reloadNow()
			a.putOff(h, standIn/4)
		case isRefusal(err), isUnloaded(err):
			failed = a.bus.call.without.explained(err, "run "+fnAnnounce+" on streams")
			a.announced(h.channel, h.position)
		default:
			if failed == nil {
				failed, by = err, pause()
			}
			a.putOff(h, max(by, standIn/4))
		}
	}
	return failed
}
