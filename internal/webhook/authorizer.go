package webhook

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

const (
	// patience is how long a question may wait for its turn. What it does not
	// need of that is for further attempts, so that the first attempt always
	// has the whole timeout.
	patience = 2 * time.Second
	// logEvery is how often failures are logged; the hooks count them all.
	logEvery = 10 * time.Second
)

var (
	errAbandoned = errors.New("nobody waits for it any more")
	errClosed    = errors.New("the gateway is ending")
)

// Authorizer asks the application. Safe for concurrent use.
type Authorizer struct {
	// fixed
	client      *client
	log         *slog.Logger
	now         func() time.Time
	hooks       Hooks
	allowTTL    time.Duration
	denyTTL     time.Duration
	maxInFlight int
	maxWaiting  int
	ctx         context.Context // of all questions; ended by Close
	cancel      context.CancelCauseFunc
	leases      *leases
	running     sync.WaitGroup // the workers
	failures    rate.Sometimes // lines about them

	mu      sync.Mutex
	answers *simplelru.LRU[key, verdict]
	flights map[key]*flight // waiting or under way, with somebody who waits
	waiting list.List       // of *flight: those that no worker has taken
	workers int
	closed  bool
}

// verdict is what came of a question.
type verdict struct {
	err    error // no answer; matches ErrUnavailable
	allow  bool
	until  time.Time
	reason string
}

// result is the verdict for who asked.
func (v verdict) result() (time.Time, error) {
	switch {
	case v.err != nil:
		return time.Time{}, v.err
	case !v.allow:
		return time.Time{}, &DeniedError{Reason: v.reason, Until: v.until}
	}
	return v.until, nil
}

// flight is one question that is put to the application, for all who wait.
type flight struct {
	key      key
	question Question
	begun    time.Time
	ctx      context.Context
	cancel   func(cause error)

	waiters int           // guarded by Authorizer.mu
	place   *list.Element // in waiting; nil: taken. Guarded by Authorizer.mu

	verdict verdict       // written before done is closed
	done    chan struct{} // closed at the end
}

// New returns an Authorizer, or a *SettingError. It contacts nobody, but starts
// one goroutine, which Close ends.
func New(o Options) (*Authorizer, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	answers, err := simplelru.NewLRU[key, verdict](o.MaxAnswers, nil)
	if err != nil {
		return nil, &SettingError{"MaxAnswers", err}
	}
	a := &Authorizer{
		client:      c,
		log:         o.Logger,
		now:         o.Now,
		hooks:       o.Hooks,
		allowTTL:    o.AllowTTL,
		denyTTL:     o.DenyTTL,
		maxInFlight: o.MaxInFlight,
		maxWaiting:  o.MaxWaiting,
		failures:    rate.Sometimes{Interval: logEvery},
		answers:     answers,
		flights:     make(map[key]*flight),
	}
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	a.leases = newLeases(a)
	return a, nil
}

// Close ends all questions with ErrUnavailable and all leases, calling their
// lost with ErrUnavailable, and waits for the goroutines. It must not be called
// from lost or a hook. Whoever asks afterwards gets ErrUnavailable.
func (a *Authorizer) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cancel(errClosed)
	a.running.Wait()
	a.leases.close()
	a.client.close()
}

// Ask returns until when q is allowed, never later than the token's end. The
// error matches ErrDenied, and is a *DeniedError then, or ErrUnavailable. Ask
// waits as long as a question may take, or until ctx ends, which is
// ErrUnavailable and does not disturb others who ask the same.
//
// An answer with a lifetime of 0 returns a time that is over: it is good for
// this question and no other.
func (a *Authorizer) Ask(ctx context.Context, q Question) (until time.Time, err error) {
	k := q.key()
	a.mu.Lock()
	if v, ok := a.keptLocked(k); ok {
		a.mu.Unlock()
		if a.hooks.Cached != nil {
			a.hooks.Cached()
		}
		return v.result()
	}
	f, err := a.joinLocked(ctx, k, q, false)
	a.mu.Unlock()
	if err != nil {
		return time.Time{}, err
	}
	select {
	case <-f.done:
		return f.verdict.result()
	case <-f.ctx.Done():
		select {
		case <-f.done: // which ends the context, too
			return f.verdict.result()
		default:
		}
		a.leave(f, ResultOverload)
		return time.Time{}, unavailable(errors.New("no answer in time"))
	case <-ctx.Done():
		a.leave(f, ResultAbandoned)
		return time.Time{}, unavailable(context.Cause(ctx))
	}
}

// keptLocked returns the answer to k that is kept and still stands.
func (a *Authorizer) keptLocked(k key) (verdict, bool) {
	v, ok := a.answers.Get(k)
	if ok && !a.now().Before(v.until) {
		a.answers.Remove(k)
		return verdict{}, false
	}
	return v, ok
}

// renew makes a lease one who waits for a fresh answer to q, and must leave. Its
// question goes before those that wait: a crowd of newcomers, or of made-up
// channels, must not end the streams that are open.
func (a *Authorizer) renew(k key, q Question) (*flight, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, err := a.joinLocked(a.ctx, k, q, true)
	if err == nil && f.place != nil {
		a.waiting.MoveToFront(f.place)
	}
	return f, err
}

// joinLocked makes the caller one who waits for a fresh answer to q, and must
// leave. What is urgent waits also where too many do. A new question belongs to
// the trace of ctx, which has no other part in it: others may come to wait for
// the same.
func (a *Authorizer) joinLocked(ctx context.Context, k key, q Question, urgent bool) (*flight, error) {
	if a.closed {
		return nil, unavailable(errClosed)
	}
	if f := a.flights[k]; f != nil {
		f.waiters++
		return f, nil
	}
	if a.waiting.Len() >= a.maxWaiting && !urgent {
		a.asked(ResultOverload, 0)
		return nil, unavailable(errors.New("too many questions wait"))
	}
	f := &flight{key: k, question: q, begun: time.Now(), waiters: 1, done: make(chan struct{})}
	limited, release := context.WithTimeout(trace.ContextWithSpanContext(a.ctx, trace.SpanContextFromContext(ctx)), patience+a.client.timeout)
	own, cancel := context.WithCancelCause(limited)
	f.ctx, f.cancel = own, func(cause error) {
		cancel(cause)
		release()
	}
	a.flights[k] = f
	f.place = a.waiting.PushBack(f)
	if a.workers < a.maxInFlight {
		a.workers++
		a.running.Go(a.work)
	}
	return f, nil
}

// leave takes back one join before the flight's end; afterwards it does no harm.
// A flight for which nobody waits ends, and so do its requests: as r where it
// was still waiting for its turn.
func (a *Authorizer) leave(f *flight, r Result) {
	a.mu.Lock()
	f.waiters--
	over := f.waiters == 0 && a.flights[f.key] == f
	unsent := over && f.place != nil
	if over {
		delete(a.flights, f.key) // who comes now starts anew
	}
	if unsent {
		a.waiting.Remove(f.place)
		f.place = nil
	}
	a.mu.Unlock()
	if over {
		f.cancel(errAbandoned)
	}
	if unsent {
		a.asked(r, time.Since(f.begun))
	}
}

// work takes the flights that wait, one after the other, until there are none.
func (a *Authorizer) work() {
	for {
		a.mu.Lock()
		first := a.waiting.Front()
		if first == nil {
			a.workers--
			a.mu.Unlock()
			return
		}
		f := a.waiting.Remove(first).(*flight)
		f.place = nil
		a.mu.Unlock()
		a.fly(f)
	}
}

// fly asks the application and tells all who wait.
func (a *Authorizer) fly(f *flight) {
	var got answer
	var sent int
	var err error
	if deadline, ok := f.ctx.Deadline(); ok && time.Until(deadline) < a.client.timeout {
		err = &failure{result: ResultOverload, text: "its turn came too late"}
	} else {
		got, sent, err = a.client.ask(f.ctx, &f.question)
	}
	took := time.Since(f.begun)
	result := ResultDeny
	switch {
	case err != nil:
		f.verdict = verdict{err: unavailable(err)}
		result = a.failed(f.ctx, err, sent, took)
	default:
		if got.allow {
			result = ResultAllow
		}
		f.verdict = verdict{allow: got.allow, reason: got.reason, until: f.question.end(a.now().Add(a.lifetime(got)))}
	}
	a.asked(result, took)

	a.mu.Lock()
	// An answer for which nobody waited may be older than the one of those who
	// asked again.
	current := a.flights[f.key] == f
	if current {
		delete(a.flights, f.key)
		if err == nil && a.now().Before(f.verdict.until) {
			a.answers.Add(f.key, f.verdict)
		} else if err == nil {
			a.answers.Remove(f.key) // whatever stood there is older
		}
	}
	a.mu.Unlock()
	if current {
		a.leases.heard(f)
	}
	close(f.done)
	f.cancel(nil)
}

func (a *Authorizer) lifetime(got answer) time.Duration {
	switch {
	case got.ttlSet:
		return got.ttl
	case got.allow:
		return a.allowTTL
	}
	return a.denyTTL
}

// failed logs a question without answer and returns how it ended.
func (a *Authorizer) failed(ctx context.Context, err error, sent int, took time.Duration) Result {
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{result: ResultNetwork, text: oneLine(err.Error())}
	}
	// An open circuit was logged when it opened.
	if f.result != ResultAbandoned && f.result != ResultCircuit {
		a.failures.Do(func() {
			a.log.WarnContext(ctx, "webhook did not answer a question", "url", a.client.shown, "result", string(f.result), "error", f.text, "attempts", sent, "took", took.String())
		})
	}
	return f.result
}

func (a *Authorizer) asked(r Result, took time.Duration) {
	if a.hooks.Asked != nil {
		a.hooks.Asked(r, took)
	}
}
