package revocation

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"realtime-gateway/pkg/redisbus"
	"realtime-gateway/pkg/sse"
)

// readTimeout bounds one reading of many users.
const readTimeout = 10 * time.Second

// readLocked waits until a user was read, together with others who came at the
// same time. It is called with the lock held and returns with it.
func (r *Registry) readLocked(ctx context.Context, u *user) error {
	if !u.asked {
		u.asked, u.err = true, nil
		r.pending = append(r.pending, u)
		if r.batch == nil {
			r.batch = &batch{make(chan struct{})}
		}
		u.batch = r.batch
	}
	if !r.reading {
		r.reading = true
		r.running.Go(r.readPending)
	}
	done := u.batch.done
	r.mu.Unlock()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	r.mu.Lock()
	if err == nil {
		err = u.err
	}
	return err
}

// readPending reads users until none is left that waits for it.
func (r *Registry) readPending() {
	for {
		r.mu.Lock()
		list, b := r.pending, r.batch
		r.pending, r.batch = nil, nil
		r.reading = len(list) > 0
		r.mu.Unlock()
		if len(list) == 0 {
			return
		}
		got := r.readInTime(list)
		r.mu.Lock()
		for i, u := range list {
			u.asked, u.err = false, got[i].Err
			if got[i].Err == nil {
				u.known = true
				r.mergeLocked(u, got[i].List)
			}
		}
		r.mu.Unlock()
		close(b.done)
	}
}

// readInTime gives each reading its own time, however long users keep coming.
func (r *Registry) readInTime(list []*user) []redisbus.Revocations {
	ctx, cancel := context.WithTimeout(r.ctx, readTimeout)
	defer cancel()
	return r.read(ctx, names(list))
}

func names(list []*user) []string {
	out := make([]string, len(list))
	for i, u := range list {
		out[i] = u.name
	}
	return out
}

// refresher has callers share a reading that began after they asked.
type refresher struct {
	mu      sync.Mutex
	next    *refreshing // has not begun
	running bool
}

type refreshing struct {
	done chan struct{}
	err  error
}

// Refresh implements redisbus.Guard: it reads everybody again who has
// connections, and forgets the others. Those who cannot be read while others can
// are asked to come back.
func (r *Registry) Refresh(ctx context.Context) error {
	f := &r.refresh
	f.mu.Lock()
	if f.next == nil {
		f.next = &refreshing{done: make(chan struct{})}
	}
	mine := f.next
	if !f.running {
		f.running = true
		r.running.Go(r.refreshAll)
	}
	f.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *Registry) refreshAll() {
	f := &r.refresh
	for {
		f.mu.Lock()
		mine := f.next
		f.next = nil
		f.running = mine != nil
		f.mu.Unlock()
		if mine == nil {
			return
		}
		mine.err = r.refreshOnce()
		close(mine.done)
	}
}

// How often, and how long apart, users are tried that could not be read while
// others could: about as long as a failover in a Cluster takes.
const (
	attempts     = 4
	attemptPause = 500 * time.Millisecond
)

func (r *Registry) refreshOnce() error {
	ctx, cancel := context.WithTimeout(r.ctx, readTimeout)
	defer cancel()
	list := r.begin()
	for attempt := 1; len(list) > 0; attempt++ {
		left, err := r.readAgain(ctx, list)
		switch {
		case len(left) == len(list) && attempt == 1 && r.away(ctx):
			return err
		case len(left) > 0 && (attempt == attempts || ctx.Err() != nil):
			r.giveUp(left, err)
			return nil
		}
		if list = left; len(list) > 0 {
			select {
			case <-time.After(attemptPause):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// samples are users of whom there are some on every master of a Cluster.
const samples = 32

// away tells whether all of Redis is, rather than a part of it, or what is
// known of a few users.
func (r *Registry) away(ctx context.Context) bool {
	anybody := make([]string, samples)
	for i := range anybody {
		anybody[i] = strconv.Itoa(i)
	}
	return !slices.ContainsFunc(r.store.Revocations(ctx, anybody), func(got redisbus.Revocations) bool { return got.Err == nil })
}

// begin returns the users with connections. Of the others nothing is known any
// more but what was revoked.
func (r *Registry) begin() (list []*user) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, u := range r.users {
		switch {
		case len(u.visits) > 0:
			list = append(list, u)
		case len(u.list) == 0:
			delete(r.users, name)
		default:
			u.known = false
		}
	}
	return list
}

// readAgain reads users, and returns those that could not be read, and why.
func (r *Registry) readAgain(ctx context.Context, list []*user) (left []*user, err error) {
	var lost []redisbus.Revocation
	for i, got := range r.read(ctx, names(list)) {
		if got.Err != nil {
			left, err = append(left, list[i]), got.Err
			continue
		}
		r.mu.Lock()
		list[i].known = true
		r.mergeLocked(list[i], got.List)
		lost = append(lost, missing(list[i].list, got.List)...)
		r.mu.Unlock()
	}
	for _, e := range lost {
		if err := r.store.Revoke(ctx, e); err != nil {
			r.o.Logger.Warn("redis has lost a revocation, and does not take it back; this replica still obeys it", "error", err)
		}
	}
	return left, err
}

// missing returns what is known and Redis does not have.
func missing(known, stored []redisbus.Revocation) (lost []redisbus.Revocation) {
	for i := range known {
		if !covered(&known[i], stored) {
			lost = append(lost, known[i])
		}
	}
	return lost
}

// covered tells whether one of the list says as much as e.
func covered(e *redisbus.Revocation, list []redisbus.Revocation) bool {
	for i := range list {
		s := &list[i]
		whole := s.Token == "" && s.Channels.String() == ""
		if (same(s, e) || whole && e.Token == "") && !s.At.Before(e.At) && !s.Until.Before(e.Until) {
			return true
		}
	}
	return false
}

// giveUp asks the connections of these users to come back: nobody can tell
// whether they still have their rights.
func (r *Registry) giveUp(list []*user, why error) {
	r.o.Logger.Warn("it cannot be read whether tokens of some users were revoked; their streams are ended for now", "users", len(list), "error", why)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range list {
		u.known = false
		for _, v := range u.visits {
			v.End(sse.CloseUnavailable, "")
			if h := r.o.Hooks.Taken; h != nil {
				h("unread")
			}
		}
	}
}
