package readiness

import (
	"context"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"
)

// Status is what a replica is for newcomers.
type Status string

// The statuses.
const (
	Ready    Status = "ready"     // it can deliver
	Degraded Status = "degraded"  // it cannot deliver everything, and nobody else is known to be better
	NotReady Status = "not ready" // newcomers are better off elsewhere
)

const (
	// interval is how often it is looked at, and Redis asked while something is
	// wrong.
	interval = time.Second
	// patience is how long something may be wrong while Redis answers. A connection
	// that broke is made anew within it.
	patience = 2 * time.Second
	// settling is the same after Redis was away: all links and channels are to come
	// back at a time when Redis is busy with those of all replicas.
	settling = 10 * time.Second
)

// Options configure a Judge.
type Options struct {
	// Own says per part what is wrong with this replica alone, and Redis what is
	// wrong with what it does with Redis; nil errors for parts that do their work.
	// Both are asked for each Report and must be quick. Required.
	Own, Redis func() map[string]error
	// Reach says by fresh connections why Redis is away, or nil if it is not.
	// Required.
	Reach func(context.Context) error
	// Grace is how long the replica stays ready while Redis is away, and up to as
	// long again. If zero, as long as it is away.
	Grace  time.Duration
	Logger *slog.Logger // if nil, slog.Default()
}

// Judge follows one replica. Safe for concurrent use.
type Judge struct {
	o     Options
	grace time.Duration // with what this replica adds; zero for no end

	mu        sync.Mutex
	since     map[string]time.Time // when each part that is wrong became so; not changed once made
	delivered bool                 // nothing of Redis was wrong once
	wrong     time.Time            // since when something of Redis is wrong; zero if nothing is
	// What fresh connections met since then.
	asked    bool
	away     error     // why Redis is away; nil if it is not
	awayFrom time.Time // when it first was; zero if it was not
	backFrom time.Time // since when it is there
	told     Status
}

// New returns a judge. It looks by itself only while Run does.
func New(o Options) *Judge {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	j := &Judge{o: o, told: NotReady}
	if o.Grace > 0 {
		j.grace = o.Grace + mathrand.N(o.Grace)
	}
	return j
}

// Report is a judgement.
type Report struct {
	Status Status
	Reason string               // why it is not Ready; else empty
	Parts  map[string]error     // nil for parts that do their work
	Since  map[string]time.Time // since when the other parts do not
}

// Run looks after the replica until ctx ends. It returns ctx's error.
func (j *Judge) Run(ctx context.Context) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		r := j.Report()
		j.mu.Lock()
		changed, wrong := r.Status != j.told, !j.wrong.IsZero()
		j.told = r.Status
		j.mu.Unlock()
		if changed {
			j.o.Logger.Info("readiness changed", "status", string(r.Status), "reason", r.Reason)
		}
		if wrong {
			j.reached(j.o.Reach(ctx), time.Now())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// reached takes the answer of Options.Reach.
func (j *Judge) reached(away error, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.wrong.IsZero():
		return // it has passed meanwhile
	case away == nil:
		if !j.asked || j.away != nil {
			j.backFrom = now
		}
	case j.awayFrom.IsZero():
		j.awayFrom = now
	}
	j.asked, j.away = true, away
}

// Report judges the present state.
func (j *Judge) Report() Report {
	own, redis := j.o.Own(), j.o.Redis()
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	r := Report{Status: Ready, Parts: make(map[string]error, len(own)+len(redis)), Since: make(map[string]time.Time)}
	worst := j.note(&r, redis, now)
	switch {
	case worst == "":
		j.delivered = true
		j.wrong, j.asked, j.away, j.awayFrom = time.Time{}, false, nil, time.Time{}
	case j.wrong.IsZero():
		j.wrong = now
	}
	if worst != "" {
		r.Status, r.Reason = j.ofRedis(now)
		if r.Reason == "" {
			r.Reason = fmt.Sprintf("%s: %v", worst, redis[worst])
		}
	}
	if part := j.note(&r, own, now); part != "" {
		r.Status, r.Reason = NotReady, fmt.Sprintf("%s: %v", part, own[part])
	}
	j.since = r.Since
	return r
}

// note adds parts to the report, and returns the first by name of those that are
// wrong.
func (j *Judge) note(r *Report, parts map[string]error, now time.Time) (wrong string) {
	for part, err := range parts {
		r.Parts[part] = err
		if err == nil {
			continue
		}
		r.Since[part] = now
		if since, known := j.since[part]; known {
			r.Since[part] = since
		}
		if wrong == "" || part < wrong {
			wrong = part
		}
	}
	return wrong
}

// ofRedis judges what is wrong with Redis. Without a reason, the part's own is one.
func (j *Judge) ofRedis(now time.Time) (s Status, reason string) {
	switch {
	case !j.delivered:
		return NotReady, ""
	case !j.asked:
		return Degraded, ""
	case j.away != nil && j.grace > 0 && now.Sub(j.awayFrom) >= j.grace:
		return NotReady, fmt.Sprintf("redis is away for longer than the grace: %v", j.away)
	case j.away != nil:
		return Degraded, fmt.Sprintf("redis is away: %v", j.away)
	case !j.awayFrom.IsZero() && now.Sub(j.backFrom) < settling, j.awayFrom.IsZero() && now.Sub(j.wrong) < patience:
		return Degraded, ""
	}
	return NotReady, "" // Redis is there for others
}
