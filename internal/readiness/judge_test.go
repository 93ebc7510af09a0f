package readiness

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// replica is what a Judge under test looks at.
type replica struct {
	*Judge
	t *testing.T

	mu         sync.Mutex
	own, redis error
	away       error
}

var (
	errDeaf    = errors.New("no events heard")
	errRefused = errors.New("connection refused")
)

// judged runs f beside a running Judge.
func judged(t *testing.T, o Options, f func(r *replica)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &replica{t: t}
		part := func(name string, of *error) func() map[string]error {
			return func() map[string]error {
				r.mu.Lock()
				defer r.mu.Unlock()
				return map[string]error{name: *of}
			}
		}
		o.Own, o.Redis, o.Logger = part("streams", &r.own), part("redis", &r.redis), slog.New(slog.DiscardHandler)
		o.Reach = func(context.Context) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.away
		}
		r.Judge = New(o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = r.Run(ctx) // it is the context's
		}()
		defer func() { cancel(); <-ended }()
		synctest.Wait()
		f(r)
	})
}

// set says what is wrong with Redis' part, and what fresh connections meet.
func (r *replica) set(redis, away error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.redis, r.away = redis, away
}

func (r *replica) want(s Status, reason string) {
	r.t.Helper()
	synctest.Wait()
	got := r.Report()
	if got.Status != s || !strings.Contains(got.Reason, reason) || (reason == "") != (got.Reason == "") {
		r.t.Errorf("it is %s, %q, want %s, %q", got.Status, got.Reason, s, reason)
	}
}

// after lets time pass, up to just behind d.
func after(d time.Duration) { time.Sleep(d + time.Millisecond) }

// Whoever could not deliver since the start is not ready, also where Redis is
// away: a rollout is to stop.
func TestNotReadyBeforeTheFirstTime(t *testing.T) {
	judged(t, Options{}, func(r *replica) {
		r.want(Ready, "")
	})
	for name, away := range map[string]error{"away": errRefused, "there": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := New(Options{
					Own: func() map[string]error { return nil }, Redis: func() map[string]error { return map[string]error{"redis": errDeaf} },
					Reach: func(context.Context) error { return away }, Logger: slog.New(slog.DiscardHandler),
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				ended := make(chan struct{})
				go func() { defer close(ended); _ = j.Run(ctx) }()
				for range 10 {
					if got := j.Report(); got.Status != NotReady || got.Reason != "redis: no events heard" {
						t.Fatalf("it is %s, %q", got.Status, got.Reason)
					}
					time.Sleep(time.Minute)
				}
				<-ended
			})
		})
	}
}

// A Redis that is there and not heard is this replica's trouble, soon; a
// connection that is made anew is not.
func TestDeaf(t *testing.T) {
	judged(t, Options{}, func(r *replica) {
		r.set(errDeaf, nil)
		r.want(Degraded, "redis: no events heard")
		after(patience / 2)
		r.set(nil, nil)
		r.want(Ready, "")
		after(time.Minute)
		r.set(errDeaf, nil)
		after(patience + 2*interval)
		r.want(NotReady, "redis: no events heard")
		r.set(nil, nil)
		r.want(Ready, "")
	})
}

// While Redis is away the replica stays ready, for as long as it takes, and while
// it comes back. Whoever does not hear it then is not.
func TestAway(t *testing.T) {
	judged(t, Options{}, func(r *replica) {
		r.set(errDeaf, errRefused)
		r.want(Degraded, "redis: no events heard")
		for range 24 {
			after(time.Hour)
			r.want(Degraded, "redis is away: connection refused")
		}
		r.set(errDeaf, nil)
		after(settling - interval)
		r.want(Degraded, "redis: no events heard")
		r.set(errDeaf, errRefused) // it was not back for long
		after(time.Minute)
		r.want(Degraded, "redis is away")
		r.set(errDeaf, nil)
		after(settling + 2*interval)
		r.want(NotReady, "redis: no events heard")
		r.set(nil, nil)
		r.want(Ready, "")
	})
}

// With a grace all leave in the end, but each at its own time.
func TestGrace(t *testing.T) {
	const grace = time.Minute
	left := make(map[time.Duration]int)
	for range 50 {
		judged(t, Options{Grace: grace}, func(r *replica) {
			r.set(errDeaf, errRefused)
			begin := time.Now()
			after(grace)
			r.want(Degraded, "redis is away")
			for r.Report().Status == Degraded {
				time.Sleep(interval)
			}
			r.want(NotReady, "redis is away for longer than the grace")
			took := time.Since(begin)
			if took > 2*grace+2*interval {
				t.Errorf("left after %v", took)
			}
			left[took.Truncate(grace/6)]++
		})
	}
	for at, n := range left {
		if n > 25 {
			t.Errorf("%d of 50 left together, after %v", n, at)
		}
	}
}

// What is wrong with the replica itself counts at once, whatever Redis does.
func TestOwn(t *testing.T) {
	judged(t, Options{}, func(r *replica) {
		r.set(errDeaf, errRefused)
		after(time.Minute)
		r.mu.Lock()
		r.own = errors.New("draining")
		r.mu.Unlock()
		r.want(NotReady, "streams: draining")
		r.set(nil, nil)
		r.want(NotReady, "streams: draining")
	})
}

// The report says of each part what is wrong, and since when.
func TestReport(t *testing.T) {
	judged(t, Options{}, func(r *replica) {
		after(time.Minute)
		begin := time.Now()
		r.set(errDeaf, errRefused)
		r.Report()
		after(time.Minute)
		got := r.Report()
		if len(got.Parts) != 2 || !errors.Is(got.Parts["redis"], errDeaf) || got.Parts["streams"] != nil {
			t.Errorf("parts are %v", got.Parts)
		}
		if len(got.Since) != 1 || !got.Since["redis"].Equal(begin) {
			t.Errorf("since %v, want %v", got.Since, begin)
		}
		r.set(nil, nil)
		r.Report()
		after(time.Minute)
		begin = time.Now()
		r.set(errDeaf, errRefused)
		if got = r.Report(); !got.Since["redis"].Equal(begin) {
			t.Errorf("since %v, want %v", got.Since, begin)
		}
	})
}
