package redisbus

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/retry"
)

// recorder gives payloads that come by plain PUBLISH their place in history,
// each exactly once, however many replicas run.
//
// For each pattern of channels two replicas listen: the first by rank records
// at once, the second waits for standIn, sees the record go by, and otherwise
// records itself. Neither holds a lease: gateway.lua records only for a caller
// that has seen the newest record of the same content, so two that act at the
// same time cannot both record one payload, and the loser learns from the
// record, which it hears too, which of its payloads that was.
type recorder struct {
	bus  *Bus
	id   string // in records, since the last call without an answer; of work
	link *link
	log  *slog.Logger

	announcer *announcer

	early time.Duration // see occurrences

	renewErr atomic.Pointer[error] // why the lease could not be renewed, nil if it could
	hearing  atomic.Bool           // all that this replica is to record has been subscribed since Redis came
	clock    atomic.Int64          // Redis time minus local time, ms
	breaks   atomic.Int64          // how often the connection broke
	clockOf  atomic.Int64          // value of breaks when clock was asked for, or -1
	unique   atomic.Int64          // last local position, for localPosition

	leasing sync.Mutex

	mu      sync.Mutex
	live    []string             // live replicas
	since   map[string]time.Time // of the patterns listened to, from when on
	first   map[string]bool      // of the patterns listened to, those recorded at once
	inbox   []heard
	joined  bool               // has a lease and therefore roles
	deafTo  map[topicName]bool // what is wanted and not confirmed
	missing bool               // records are being missed
	pending int                // payloads in the inbox or waiting to be recorded
	bytes   int                // of them
	kick    chan struct{}
	beat    chan struct{}
	left    bool

	rejected, failed logLimit
}

const (
	// standIn is how long the second recorder waits for the first.
	standIn = 200 * time.Millisecond
	// lease is how long a replica counts as live after its last heartbeat.
	lease             = 3 * time.Second
	heartbeatInterval = time.Second
	// young is how long a replica listens as a stand-in whatever its rank: the
	// leases of those that died before it came still outrank it.
	young = 2 * lease
	// handOver is how long a replica goes on recording a pattern that another
	// has taken over, which may not be listening yet.
	handOver = 3 * time.Second
	// takeOver is how long a replica that leaves goes on recording, so that those
	// who outrank nobody until then learn of it and listen.
	takeOver = 2 * heartbeatInterval
	// Bounds of what waits in memory to be recorded.
	maxPending      = 100_000
	maxPendingBytes = 64 << 20
	// recordBatch is how many records go into one round trip.
	recordBatch = 256
	// clockWait is how soon is looked again whether the Redis time is known.
	clockWait = 20 * time.Millisecond
	// clockSlack covers the error of the Redis time that a recorder computes, with
	// what lies unread in a socket and the difference of a Cluster's clocks.
	clockSlack = 2 * time.Second
	// listenSlack covers that error alone: the time was asked for at most a second
	// ago, and is computed as if the answer had taken no time.
	listenSlack = 200 * time.Millisecond
)

func newRecorder(b *Bus) *recorder {
	r := &recorder{bus: b, id: rand.Text(), log: b.log, first: make(map[string]bool), since: make(map[string]time.Time), kick: make(chan struct{}, 1), beat: make(chan struct{}, 1), deafTo: make(map[topicName]bool)}
	r.announcer = newAnnouncer(b)
	if b.target.clustered() {
		r.early = standIn / 2
	}
	r.clockOf.Store(-1)
	o := b.ordinaryLink()
	o.control = "" // what it hears is recorded, and delivered to nobody
	r.link = newLink(o, r)
	r.want(r.records())
	return r
}

// records is where recorders hear of each other's records. A pattern, like what
// the payloads come by: a server may keep no order between messages of
// patterns and of channels, and the embedded one does not.
func (r *recorder) records() topicName {
	return topicName{text: r.bus.keys.recorded(), pattern: true}
}

func (r *recorder) run(ctx context.Context) {
	var parts sync.WaitGroup
	for _, part := range []func(context.Context){r.link.run, r.heartbeat, r.work, r.announcer.run} {
		parts.Go(func() { part(ctx) })
	}
	parts.Wait()
}

// work records what is heard.
func (r *recorder) work(ctx context.Context) {
	o := newOccurrences()
	o.done = func(p *plain) { r.done(p.payload) }
	o.early = r.early
	retrying := retry.Backoff{Policy: linkRetry}
	var notBefore time.Time
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	swept := time.Now()
	for {
		now := time.Now()
		for _, m := range r.take() {
			r.note(o, m, now)
		}
		wait := time.Hour
		if due, ok := o.next(); ok {
			wait = max(due.Sub(now), notBefore.Sub(now))
			if wait <= 0 {
				if r.clockOf.Load() != r.breaks.Load() {
					// Another server, or the same again, may have another time.
					r.beatNow()
					notBefore = time.Now().Add(clockWait)
					continue
				}
				for _, w := range o.waiting {
					w.since = r.redisTime(w.from)
				}
				counting := r.recount(ctx, o, retrying.Next)
				recording := r.recordDue(ctx, o, retrying.Next)
				if recording != nil {
					// A call without an answer may still be executed. Under a new
					// name, what it records counts as another recorder's.
					r.id = rand.Text()
				}
				if err := errors.Join(counting, recording); err == nil {
					retrying.Reset()
				} else if _, ok := r.failed.allow(time.Now()); ok && r.bus.Ready() {
					r.log.Warn("payloads that came by PUBLISH cannot be recorded at the moment, they wait", "waiting", len(o.waiting), "error", err)
				}
				continue
			}
		}
		if now.Sub(swept) > plainWindow {
			o.forget(now.Add(-plainWindow))
			swept = now
		}
		timer.Reset(min(wait, plainWindow))
		asleep := time.Now()
		select {
		case <-r.kick:
		case <-timer.C:
			// A process that was stopped wakes up with its timers overdue and the
			// records of the others unread: let them come in first.
			if late := time.Since(asleep) - min(wait, plainWindow); late > standIn {
				notBefore = time.Now().Add(standIn)
			}
		case <-ctx.Done():
			return
		}
	}
}

// note takes one message of the link.
func (r *recorder) note(o *occurrences, m heard, now time.Time) {
	if m.broken {
		o.broken()
		return
	}
	if m.name == r.bus.keys.recorded() {
		if position, c, ok := parseRecorded(m.text); ok {
			o.recorded(c, position, now)
		}
		return
	}
	p := r.bus.o.Policies.For(m.name)
	if p == nil || !p.History() || channels.CheckName(m.name) != nil || r.bus.keys.own(m.name) {
		r.done(m.text)
		return // heard too much
	}
	if reason := rejects(m.text, r.bus.o.MaxPayload); reason != "" {
		r.done(m.text)
		r.reject(m.name, reason)
		return
	}
	r.mu.Lock()
	first := r.first[m.pattern]
	r.mu.Unlock()
	due := now
	if !first {
		due = now.Add(standIn + mathrand.N(standIn/4))
	}
	o.heard(&plain{
		content: content{m.name, sha1hex(m.text)},
		payload: m.text,
		due:     due,
		standIn: !first,
		from:    m.from,
	}, now)
}

// parseRecorded reads what gateway.lua says of a record: position, recorder,
// digest and channel.
func parseRecorded(text string) (position channels.Position, c content, ok bool) {
	f := strings.SplitN(text, " ", 4)
	if len(f) != 4 {
		return position, content{}, false
	}
	position, err := channels.ParsePosition(f[0])
	return position, content{channel: f[3], digest: f[2]}, err == nil
}

// recordDue records what is due, in the order heard. An error means that some
// calls may have been executed without our knowing; their channels are held for
// a pause, and the others go on: of a Cluster, a part may be away.
func (r *recorder) recordDue(ctx context.Context, o *occurrences, pause func() time.Duration) error {
	due := o.due(time.Now(), recordBatch)
	if len(due) == 0 {
		return nil
	}
	cmds := make([]*redis.Cmd, len(due))
	ctx, cancel := context.WithTimeout(ctx, 2*ioTimeout)
	defer cancel()
	_ = pipelined(ctx, r.bus.client, func(p redis.Pipeliner) {
		for i, w := range due {
			last := "" // none
			if p := o.of(w.content, time.Now()).last; !p.IsZero() {
				last = p.String()
			}
			cmds[i] = r.bus.call.queueOnce(ctx, p, fnRecord, r.bus.keys.stream(w.channel), w.payload, last, r.id)
		}
	})
	var failed error
	now := time.Now()
	again := now
	for i, w := range due {
		answer, err := cmds[i].Slice()
		switch {
		case err == nil && len(answer) >= 2:
			text, _ := answer[1].(string)
			position, _ := channels.ParsePosition(text)
			if made, _ := answer[0].(int64); made == 1 {
				o.settle(w, position, now)
				if h := r.bus.o.Hooks.Recorded; h != nil {
					h(!w.standIn)
				}
				continue
			}
			if position.Less(w.since) {
				// By a recorder that was there before this one, as after a restart.
				o.earlier(w.content, position, now)
				continue
			}
			// Another recorder was faster. Its record is on the way to us; when it
			// does not come, the stream is counted.
			if w.refused++; w.refused > 3 {
				o.held[w.channel] = time.Time{}
			}
			w.due = now.Add(standIn)
		case isUnloaded(err):
			r.bus.reloadNow()
			w.due = now.Add(standIn / 4)
		case isRefusal(err) && !isDenied(err):
			r.reject(w.channel, refusedAs(err))
			o.settle(w, channels.Position{}, now)
		default:
			if failed == nil {
				failed, again = r.bus.call.without.explained(err, "run "+fnRecord+" on streams"), now.Add(pause())
			}
			o.held[w.channel] = again
		}
	}
	return failed
}

// recount finds in the streams which of the waiting payloads are recorded
// already, after records were missed or calls ended without an answer. Channels
// whose streams cannot be read stay held for a pause.
func (r *recorder) recount(ctx context.Context, o *occurrences, pause func() time.Duration) error {
	uncounted := o.uncounted(time.Now())
	var failed error
	var again time.Time
	for batch := range slices.Chunk(slices.Collect(maps.Keys(uncounted)), recordBatch) {
		cmds := make([]*redis.XMessageSliceCmd, len(batch))
		r.bus.together(ctx, func(ctx context.Context, p redis.Pipeliner) {
			for i, channel := range batch {
				cmds[i] = p.XRange(ctx, r.bus.keys.stream(channel), uncounted[channel][0].since.String(), "+")
			}
		})
		for i, channel := range batch {
			entries, err := cmds[i].Result()
			if err != nil {
				if failed == nil {
					failed, again = err, time.Now().Add(pause())
				}
				o.held[channel] = again
				continue
			}
			for _, m := range entries {
				if e, recorder, ok := parseEntry(m); ok && recorder != "" {
					o.found(content{channel, sha1hex(e.Payload)}, e.Position, time.Now())
				}
			}
			for _, w := range uncounted[channel] {
				w.refused = 0
			}
			o.counted(channel)
		}
	}
	return failed
}
