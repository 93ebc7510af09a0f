package redisbus

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

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

	early time.Duration // see occurrences

	hearing atomic.Bool  // all that this replica is to record has been subscribed since Redis came
	clock   atomic.Int64 // Redis time minus local time, ms
	unique  atomic.Int64 // last local position, for localPosition

	leasing sync.Mutex

	mu      sync.Mutex
	live    []string          // live replicas
	since   map[string]uint64 // of the patterns listened to, the Redis time from which on, ms
	first   map[string]bool   // of the patterns listened to, those recorded at once
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

// heard is one message of the link, in its order.
type heard struct {
	pattern, name, text string
	broken              bool // instead: messages may have been missed before this
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
	// Bounds of what waits in memory to be recorded.
	maxPending      = 100_000
	maxPendingBytes = 64 << 20
	// recordBatch is how many records go into one round trip.
	recordBatch = 256
	// clockSlack covers the error of the Redis time that a recorder computes.
	clockSlack = 2 * time.Second
)

func newRecorder(b *Bus) *recorder {
	r := &recorder{bus: b, id: rand.Text(), log: b.log, first: make(map[string]bool), since: make(map[string]uint64), kick: make(chan struct{}, 1), beat: make(chan struct{}, 1), deafTo: make(map[topicName]bool)}
	r.link = newLink(rand.Text(), b.target, b.client, b.keys, r, b.changed, b.log)
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
	for _, part := range []func(context.Context){r.link.run, r.heartbeat, r.work} {
		parts.Go(func() { part(ctx) })
	}
	parts.Wait()
}

// heartbeat renews this replica's lease and takes and gives up roles.
func (r *recorder) heartbeat(ctx context.Context) {
	patterns := recordPatterns(r.bus.o.Policies, r.bus.keys)
	passedOn := make(map[string]time.Time)
	begun := time.Now()
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	for {
		if !r.leaving() {
			if err := r.renew(ctx); err == nil {
				now := time.Now()
				r.takeRoles(patterns, passedOn, now, now.Sub(begun) < young)
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
		r.bus.changed(true, nil)
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
	args := append([]any{r.bus.o.Replica, lease.Milliseconds()}, leave...)
	answer, err := r.bus.call.queue(ctx, r.bus.client, fnJoin, r.bus.keys.replicas(), args...).StringSlice()
	if err != nil {
		return err
	}
	now, err := channels.ParsePosition(answer[0] + "-0")
	if err != nil {
		return err
	}
	r.clock.Store(int64(now.Millis) - time.Now().UnixMilli())
	r.mu.Lock()
	r.live = answer[1:]
	r.mu.Unlock()
	return nil
}

func (r *recorder) takeRoles(patterns []string, passedOn map[string]time.Time, now time.Time, isYoung bool) {
	defer r.settle()
	r.mu.Lock()
	r.joined = true
	firsts, seconds := 0, 0
	var want, unwant []topicName
	for _, p := range patterns {
		place := rank(p, r.bus.o.Replica, r.live)
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

// leave ends this replica's lease, so that others take over at once.
func (r *recorder) leave(ctx context.Context) error {
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	return r.renew(ctx, "leave")
}

func (r *recorder) replicas() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.live...)
}

// redisTime is what Redis' clock says, as far as is known here.
func (r *recorder) redisTime() int64 { return time.Now().UnixMilli() + r.clock.Load() }

// listensFrom is the Redis time now, or earlier: no record of what is heard from
// now on is older. In a Cluster the clock of the node that records may be
// behind the one asked.
func (r *recorder) listensFrom() uint64 {
	now := r.redisTime()
	if r.bus.target.clustered() {
		now -= clockSlack.Milliseconds()
	}
	return uint64(max(0, now))
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

// confirmed implements listener.
func (r *recorder) confirmed(n topicName) {
	r.mu.Lock()
	delete(r.deafTo, n)
	again := r.missing && n == r.records()
	if again {
		r.missing = false
	}
	r.mu.Unlock()
	if again {
		r.put(heard{broken: true}) // what was recorded since deaf has been missed too
	}
	r.settle()
}

// deaf implements listener.
func (r *recorder) deaf(names []topicName) {
	r.hearing.Store(false)
	r.mu.Lock()
	r.missing = true
	for _, n := range names {
		r.deafTo[n] = true
	}
	for p := range r.since {
		r.since[p] = r.listensFrom()
	}
	r.mu.Unlock()
	r.put(heard{broken: true})
}

// message implements listener.
func (r *recorder) message(pattern, name, text string) {
	r.put(heard{pattern: pattern, name: name, text: text})
}

func (r *recorder) put(m heard) {
	r.mu.Lock()
	payload := !m.broken && m.name != r.bus.keys.recorded()
	full := payload && (r.pending >= maxPending || r.bytes+len(m.text) > maxPendingBytes)
	if !full {
		r.inbox = append(r.inbox, m)
		if payload {
			r.pending++
			r.bytes += len(m.text)
		}
	}
	r.mu.Unlock()
	if full {
		r.reject(m.name, "overload")
		return
	}
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *recorder) take() []heard {
	r.mu.Lock()
	defer r.mu.Unlock()
	inbox := r.inbox
	r.inbox = nil
	return inbox
}

// done gives back the room of a payload that waits no longer.
func (r *recorder) done(payload string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending--
	r.bytes -= len(payload)
}

// rejects says why a plain payload is not accepted, or nothing.
func rejects(payload string, limit int) string {
	if len(payload) > limit || !utf8.ValidString(payload) {
		return "payload"
	}
	return ""
}

// reject counts a payload that is not delivered. Its publisher cannot be told,
// so the log is, now and then.
func (r *recorder) reject(channel, reason string) {
	if h := r.bus.o.Hooks.Rejected; h != nil {
		h(reason)
	}
	if n, ok := r.rejected.allow(time.Now()); ok {
		what := "a payload that came by PUBLISH is too long or not valid UTF-8 and was dropped"
		switch reason {
		case "prefix":
			what = "what came by PUBLISH under the name of a stream is no announcement and was ignored; publish to the bare name of the channel"
		case "overload":
			what = "payloads come by PUBLISH faster than they can be recorded and were dropped; publish with FCALL gateway_publish, or reliably and faster"
		}
		r.log.Warn(what, "channel", channel, "dropped", n)
	}
}

// work records what is heard.
func (r *recorder) work(ctx context.Context) {
	o := newOccurrences()
	o.done = func(p *plain) { r.done(p.payload) }
	o.early = r.early
	var unsure bool // records may have been made or missed that are not counted
	retrying := retry.Backoff{Policy: linkRetry}
	var notBefore time.Time
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	swept := time.Now()
	for {
		now := time.Now()
		for _, m := range r.take() {
			if r.note(o, m, now) {
				unsure = true
			}
		}
		wait := time.Hour
		if due, ok := o.next(); ok {
			wait = max(due.Sub(now), notBefore.Sub(now))
			if wait <= 0 {
				var err error
				if unsure {
					err = r.recount(ctx, o)
					unsure = err != nil
				}
				if err == nil {
					err = r.recordDue(ctx, o)
				}
				if err != nil {
					unsure = true
					// A call without an answer may still be executed. Under a new
					// name, what it records counts as another recorder's.
					r.id = rand.Text()
					notBefore = time.Now().Add(retrying.Next())
					if _, ok := r.failed.allow(time.Now()); ok && r.bus.Ready() {
						r.log.Warn("payloads that came by PUBLISH cannot be recorded at the moment, they wait", "waiting", len(o.waiting), "error", err)
					}
				} else {
					retrying.Reset()
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

// note takes one message of the link, and reports whether records may have
// been missed before it.
func (r *recorder) note(o *occurrences, m heard, now time.Time) (missed bool) {
	if m.broken {
		o.missed = true
		return true
	}
	if m.name == r.bus.keys.recorded() {
		if position, c, ok := parseRecorded(m.text); ok {
			o.recorded(c, position, now)
		}
		return false
	}
	p := r.bus.o.Policies.For(m.name)
	if p == nil || !p.History() || channels.CheckName(m.name) != nil || r.bus.keys.own(m.name) {
		r.done(m.text)
		return false // heard too much
	}
	if reason := rejects(m.text, r.bus.o.MaxPayload); reason != "" {
		r.done(m.text)
		r.reject(m.name, reason)
		return false
	}
	r.mu.Lock()
	first := r.first[m.pattern]
	// A payload heard now is recorded after that: not long before, and not
	// before this replica listened.
	since := max(uint64(max(0, r.redisTime()-clockSlack.Milliseconds())), r.since[m.pattern])
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
		since:   channels.Position{Millis: since},
	}, now)
	return false
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
// calls may have been executed without our knowing.
func (r *recorder) recordDue(ctx context.Context, o *occurrences) error {
	due := o.due(time.Now(), recordBatch)
	cmds := make([]*redis.Cmd, len(due))
	ctx, cancel := context.WithTimeout(ctx, 2*ioTimeout)
	defer cancel()
	_, _ = r.bus.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, w := range due {
			last := "" // none
			if p := o.of(w.content, time.Now()).last; !p.IsZero() {
				last = p.String()
			}
			cmds[i] = r.bus.call.queueOnce(ctx, p, fnRecord, r.bus.keys.stream(w.channel), w.payload, last, r.id)
		}
		return nil
	})
	var failed error
	now := time.Now()
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
				failed = errUncounted
			}
			w.due = now.Add(standIn)
		case isUnloaded(err):
			r.bus.reloadNow()
			w.due = now.Add(standIn / 4)
		case isRefusal(err):
			r.reject(w.channel, "payload")
			o.settle(w, channels.Position{}, now)
		default:
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

var errLeaving = errors.New("this replica is leaving")

var errUncounted = errors.New("records were made that were not heard")

// recount finds in the streams which of the waiting payloads are recorded
// already, after records were missed or calls ended without an answer.
func (r *recorder) recount(ctx context.Context, o *occurrences) error {
	byChannel := make(map[string][]*plain)
	for _, w := range o.waiting {
		byChannel[w.channel] = append(byChannel[w.channel], w)
	}
	for channel, waiting := range byChannel {
		since := waiting[0].since
		entries, err := r.bus.client.XRange(ctx, r.bus.keys.stream(channel), since.String(), "+").Result()
		if err != nil {
			return err
		}
		for _, m := range entries {
			e, recorder, ok := parseEntry(m)
			if !ok || recorder == "" {
				continue
			}
			o.found(content{channel, sha1hex(e.Payload)}, e.Position, time.Now())
		}
		for _, w := range waiting {
			w.refused = 0
		}
	}
	o.missed = false
	return nil
}
