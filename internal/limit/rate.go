package limit

import (
	"sync"
	"time"
)

// Sizes of a Rate: 2^13 sets of seven places and a shared one, 1 MiB.
const (
	sets    = 1 << 13
	places  = 7
	stripes = 64 // locks; each guards every 64th set
)

// Rate bounds how often each key does something, by a token bucket: so many
// times a second, and more at once where it was less before.
//
// A bucket is kept as the time at which it is full again (the generic cell rate
// algorithm; golang.org/x/time/rate takes six times the memory and needs a map
// around it). One that is full says nothing, so its place is free for another
// key: nobody is forgotten who has taken tokens, and there is nothing to clean
// up.
//
// All buckets together have a fixed size, in sets of which a key belongs to one.
// Keys that find all places of their set in use share one bucket there. That
// takes more keys at a time than there are places: with one token a second for
// each, 57,000 requests a second of as many addresses. So under millions of keys
// the memory stays, limits do not vanish, and who has a bucket keeps it to
// himself.
//
// Nil is no limit.
type Rate struct {
	now      func() time.Time
	begun    time.Time
	interval int64 // nanoseconds in which one token comes
	burst    int64 // nanoseconds in which an empty bucket fills

	locks [stripes]sync.Mutex
	sets  []set
}

type set struct {
	own    [places]bucket
	shared bucket
}

type bucket struct {
	key  Key
	full int64 // when it is full again, in nanoseconds since begun
}

// NewRate returns a limit of perSecond times a second for each key, and of
// burst seconds' worth at once. If now is nil, it is time.Now. Zero or less per
// second means that there is no limit.
func NewRate(perSecond int, burst time.Duration, now func() time.Time) *Rate {
	if perSecond <= 0 {
		return nil
	}
	if now == nil {
		now = time.Now
	}
	interval := max(int64(time.Second)/int64(perSecond), 1)
	return &Rate{now: now, begun: now(), interval: interval, burst: max(int64(burst), interval), sets: make([]set, sets)}
}

// Allow takes a token of the key's bucket, or reports that there is none.
func (r *Rate) Allow(k Key) bool {
	if r == nil {
		return true
	}
	now := int64(r.now().Sub(r.begun))
	at := uint64(k) % sets
	lock := &r.locks[at%stripes]
	lock.Lock()
	defer lock.Unlock()
	b := r.sets[at].bucket(k, now)
	full := max(b.full, now) + r.interval
	if full-now > r.burst {
		return false
	}
	b.full = full
	return true
}

// bucket returns the key's bucket: the one it has, a free one, or the shared.
func (s *set) bucket(k Key, now int64) *bucket {
	free := -1
	for i := range s.own {
		if b := &s.own[i]; b.full <= now {
			free = i
		} else if b.key == k {
			return b
		}
	}
	if free < 0 {
		return &s.shared
	}
	s.own[free].key = k
	return &s.own[free]
}
