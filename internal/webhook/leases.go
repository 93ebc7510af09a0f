package webhook

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"realtime-gateway/pkg/retry"
)

// minLease is the shortest time that an allow holds for an open stream.
// Shorter ones, and 0 above all, would have streams ask without a pause.
const minLease = time.Second

// renewal spreads the questions of a lease that got no answer.
var renewal = retry.Policy{Initial: time.Second, Max: 5 * time.Second}

// leases keeps answers alive for open streams: one lease for each distinct
// question, in the order in which they need attention, and one goroutine.
type leases struct {
	a       *Authorizer
	wake    chan struct{} // the first lease is another; size 1, as one look is enough
	stopped chan struct{} // closed when run has returned

	mu     sync.Mutex // before Authorizer.mu
	byKey  map[key]*lease
	queue  leaseQueue
	closed bool
}

// lease is an allow that streams hold.
type lease struct {
	key      key
	question Question
	until    time.Time // the end of what was allowed
	asking   *flight   // nil: none
	lastErr  error     // why there was no answer; nil after one
	backoff  retry.Backoff
	watchers map[*watcher]struct{}

	at    time.Time // when it needs attention
	index int       // in leases.queue
}

// watcher is one stream's part in a lease.
type watcher struct{ lost func(error) }

// Watch keeps an allow that Ask returned alive for an open stream: between 80 %
// and 95 % of its life, and earlier where less than the timeout would be left,
// the application is asked again, once for all who watch the same question.
//
// When the right ends, lost is called, once, with an error that matches
// ErrDenied (the application said no), ErrUnavailable (the answer ended, no
// other could be had until then, though it was tried again and again) or
// ErrTokenExpired. It is called from a goroutine of the Authorizer and must
// return soon; it may call stop, and Ask and Watch in goroutines of its own.
//
// stop ends the watch. It may be called several times, also after lost; a call
// of lost may be under way when it returns.
//
// For a stream an allow holds at least a second, also where its ttl is less.
func (a *Authorizer) Watch(q Question, until time.Time, lost func(error)) (stop func()) {
	w := &watcher{lost}
	k := q.key()
	l := a.leases
	now := a.now()
	if floor := now.Add(minLease); until.Before(floor) {
		until = floor
	}
	until = q.end(until)

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		// Not here: the caller may hold what lost needs.
		go lost(unavailable(errClosed))
		return func() {}
	}
	s := l.byKey[k]
	if s == nil {
		s = &lease{key: k, question: q, watchers: make(map[*watcher]struct{}), backoff: retry.Backoff{Policy: renewal}}
		l.byKey[k] = s
		heap.Push(&l.queue, s)
	}
	s.watchers[w] = struct{}{}
	if until.After(s.until) {
		l.extend(s, until, now)
	}
	return func() { l.stop(s, w) }
}

func newLeases(a *Authorizer) *leases {
	l := &leases{a: a, wake: make(chan struct{}, 1), stopped: make(chan struct{}), byKey: make(map[key]*lease)}
	go l.run()
	return l
}

// close ends all leases and waits for the goroutine. The context of the
// Authorizer has ended.
func (l *leases) close() {
	<-l.stopped
	l.mu.Lock()
	l.closed = true
	var gone []*lease
	for _, s := range l.byKey {
		gone = append(gone, s)
	}
	watchers := make([]map[*watcher]struct{}, len(gone))
	for i, s := range gone {
		watchers[i] = l.remove(s)
	}
	l.mu.Unlock()
	for _, w := range watchers {
		tell(w, unavailable(errClosed))
	}
}

// stop takes a watcher away, and the lease with the last one.
func (l *leases) stop(s *lease, w *watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := s.watchers[w]; !ok {
		return
	}
	delete(s.watchers, w)
	if len(s.watchers) == 0 {
		l.remove(s)
	}
}

// remove ends a lease and returns who is to be told. The caller holds mu.
func (l *leases) remove(s *lease) map[*watcher]struct{} {
	delete(l.byKey, s.key)
	heap.Remove(&l.queue, s.index)
	if s.asking != nil {
		l.a.leave(s.asking, ResultAbandoned)
		s.asking = nil
	}
	watchers := s.watchers
	s.watchers = nil
	return watchers
}

// tell is called without mu.
func tell(watchers map[*watcher]struct{}, err error) {
	for w := range watchers {
		w.lost(err)
	}
}

// extend takes in a new allow. The caller holds mu.
func (l *leases) extend(s *lease, until, now time.Time) {
	s.until, s.lastErr = until, nil
	s.backoff.Reset()
	if s.asking != nil || s.question.final(until) {
		l.schedule(s, until)
		return
	}
	life := until.Sub(now)
	next := life*80/100 + rand.N(max(life*15/100, 1))
	next = max(min(next, life-l.a.client.timeout), min(next, life/2))
	l.schedule(s, now.Add(next))
}

// schedule says when a lease needs attention. The caller holds mu.
func (l *leases) schedule(s *lease, at time.Time) {
	if at.After(s.until) {
		at = s.until
	}
	s.at = at
	heap.Fix(&l.queue, s.index)
	if s.index == 0 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// heard takes in how a flight ended, whoever asked.
func (l *leases) heard(f *flight) {
	now := l.a.now()
	l.mu.Lock()
	s := l.byKey[f.key]
	if s == nil {
		l.mu.Unlock()
		return
	}
	own := s.asking == f
	if own {
		s.asking = nil
	}
	v := f.verdict
	switch {
	case v.err != nil && own:
		s.lastErr = v.err
		l.schedule(s, now.Add(s.backoff.Next()))
	case v.err != nil: // of a question that others asked; the lease's own will come
	case v.allow:
		until := v.until
		if floor := now.Add(minLease); until.Before(floor) {
			until = s.question.end(floor)
		}
		l.extend(s, until, now)
	default:
		watchers := l.remove(s)
		l.mu.Unlock()
		_, err := v.result()
		tell(watchers, err)
		return
	}
	l.mu.Unlock()
}

// run gives the leases attention until the Authorizer ends.
func (l *leases) run() {
	defer close(l.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.a.ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
		if next, ok := l.attend(); ok {
			timer.Reset(next)
		} else {
			timer.Stop()
		}
	}
}

// attend asks for the leases that are due and ends those that are over. It
// returns how long nothing needs to be done; ok is false where there are none.
func (l *leases) attend() (next time.Duration, ok bool) {
	type end struct {
		watchers map[*watcher]struct{}
		err      error
	}
	var ends []end
	now := l.a.now()
	l.mu.Lock()
	for len(l.queue) > 0 && !l.queue[0].at.After(now) {
		s := l.queue[0]
		if !now.Before(s.until) {
			err := s.over()
			ends = append(ends, end{l.remove(s), err})
			continue
		}
		f, err := l.a.renew(s.key, s.question)
		if err != nil {
			s.lastErr = err
			l.schedule(s, now.Add(s.backoff.Next()))
			continue
		}
		s.asking = f
		l.schedule(s, s.until)
	}
	if len(l.queue) > 0 {
		next, ok = l.queue[0].at.Sub(now), true
	}
	l.mu.Unlock()
	for _, e := range ends {
		tell(e.watchers, e.err)
	}
	return next, ok
}

// over is why a lease ended.
func (s *lease) over() error {
	switch {
	case s.question.final(s.until):
		return ErrTokenExpired
	case s.lastErr != nil:
		return s.lastErr
	}
	return unavailable(errors.New("no answer in time"))
}

// leaseQueue is a heap by lease.at.
type leaseQueue []*lease

func (h leaseQueue) Len() int           { return len(h) }
func (h leaseQueue) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h leaseQueue) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *leaseQueue) Push(x any) {
	s := x.(*lease)
	s.index = len(*h)
	*h = append(*h, s)
}

// Pop is for container/heap.
func (h *leaseQueue) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return s
}
