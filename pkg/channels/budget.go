package channels

import (
	"cmp"
	"context"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// DefaultLogBytes is the memory that the logs of all channels may hold
// together, where Options.LogBytes is zero.
const DefaultLogBytes = 256 << 20

// budget bounds what the logs of all channels hold together. An append costs
// one atomic addition. Beyond fifteen sixteenths a goroutine shortens logs, the
// coldest first, to seven eighths, so that its work is shared by the many
// appends in between; who appends beyond the limit does it himself before he
// goes on. So the sum exceeds the limit by no more than what is being appended
// (an event, or what a fill or a page brought), unless nothing more may go: see
// topic.spare.
//
// Lock order: budget.mu, then a topic's. Nobody who holds a topic's lock may
// shorten logs.
type budget struct {
	limit, high, low int64 // bytes; high is where shortening begins, low where it ends
	step             int64 // bytes between two epochs
	wake             chan struct{}

	mu sync.Mutex // held while logs are shortened

	_     [64]byte // what every append writes keeps away from what every delivery reads
	bytes atomic.Int64
	_     [64]byte
	// epoch is a clock for who was used before whom. It goes on as the logs grow,
	// and with each shortening and check.
	epoch atomic.Int64
	// again is the sum above which logs are to be shortened: high, or more where
	// they could not be, so that nobody tries in vain at each append.
	again atomic.Int64
}

func (b *budget) init(limit int64) {
	switch {
	case limit == 0:
		limit = DefaultLogBytes
	case limit < 0:
		limit = math.MaxInt64
	}
	b.limit, b.high, b.low = limit, limit-limit/16, limit-limit/8
	b.step = max(limit/64, 1)
	b.wake = make(chan struct{}, 1)
	b.again.Store(b.high)
}

// add notes that a log has grown. It may be called with the topic's lock held.
func (b *budget) add(n int64) {
	sum := b.bytes.Add(n)
	if n <= 0 {
		return
	}
	if sum/b.step != (sum-n)/b.step {
		b.epoch.Add(1)
	}
	if sum > b.again.Load() {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// over tells whether who has appended has to shorten logs.
func (b *budget) over() bool { return b.bytes.Load() > max(b.limit, b.again.Load()) }

// shortened notes where shortening has got to.
func (b *budget) shortened() {
	b.epoch.Add(1)
	left := b.bytes.Load()
	again := left + b.limit/16
	if left <= b.limit {
		again = min(again, b.limit)
	}
	b.again.Store(max(again, b.high))
}

// LogBytes returns how many bytes the logs of all channels hold in memory, by
// the size of their events and what each needs besides. Safe for concurrent use.
func (h *Hub) LogBytes() int64 { return h.logs.bytes.Load() }

// keepBudget shortens logs until ctx ends.
func (h *Hub) keepBudget(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.logs.wake:
			h.shorten(h.logs.again.Load())
		}
	}
}

// relieve is called by who has appended, once he holds no lock.
func (h *Hub) relieve() {
	if h.logs.over() {
		h.shorten(max(h.logs.limit, h.logs.again.Load()))
	}
}

// retry has the logs shortened that could not be before, and dates who is used
// from now on.
func (h *Hub) retry() {
	h.logs.epoch.Add(1)
	h.shorten(h.logs.high)
}

// shorten takes from the coldest logs, where all have more than so many bytes.
// What subscribers still read goes only where the limit is exceeded.
func (h *Hub) shorten(above int64) {
	b := &h.logs
	if b.bytes.Load() <= above {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes.Load() <= above {
		return // somebody was faster
	}
	defer b.shortened()
	list, evicted := h.coldest(), 0
	for _, unread := range []bool{false, true} {
		if unread && b.bytes.Load() <= b.limit {
			break
		}
		for _, t := range list {
			excess := b.bytes.Load() - b.low
			if excess <= 0 {
				break
			}
			evicted += t.shorten(excess, unread)
		}
	}
	if hook := h.hooks.Evicted; hook != nil && evicted > 0 {
		hook(evicted)
	}
}

// coldest returns the topics whose logs have something: those without
// subscribers first, then those not used for longest, and of these the largest.
func (h *Hub) coldest() []*topic {
	h.mu.RLock()
	topics := make([]*topic, 0, len(h.topics))
	for _, t := range h.topics {
		topics = append(topics, t)
	}
	h.mu.RUnlock()
	type warmth struct {
		topic *topic
		subs  int // 0 or 1
		used  int64
		bytes int
	}
	list := make([]warmth, 0, len(topics))
	for _, t := range topics {
		t.mu.Lock()
		if len(t.log.entries) > 0 {
			list = append(list, warmth{t, min(len(t.subs), 1), t.log.used, t.log.bytes})
		}
		t.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b warmth) int {
		return cmp.Or(cmp.Compare(a.subs, b.subs), cmp.Compare(a.used, b.used), cmp.Compare(b.bytes, a.bytes))
	})
	topics = topics[:len(list)]
	for i, w := range list {
		topics[i] = w.topic
	}
	return topics
}

// shorten takes about so many bytes from the log's beginning, as far as they
// can be spared, and returns how many events that were.
func (t *topic) shorten(bytes int64, unread bool) (events int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	index, spare := t.log.first, t.spare(unread)
	for ; index < spare && bytes > 0; index++ {
		e := t.log.entries[index-t.log.first]
		if e.Gap != nil && index == t.log.next()-1 {
			break // it says what became of positions behind it, and is small
		}
		bytes -= int64(e.size())
		if e.Gap == nil {
			events++
		}
	}
	t.cut(index)
	return events
}

// spare returns up to which index the log is not needed: by nobody who reads
// it, or, with unread, by nobody whom its loss would cost an event that his
// policy promises him. Who follows by history reads on in the stream.
func (t *topic) spare(unread bool) int64 {
	index := t.log.next()
	if t.window != nil {
		index = t.visible() // what is held back has been seen by nobody
	}
	for _, s := range t.subs {
		index = min(index, s.needs(unread))
	}
	return max(index, t.log.first)
}

// needs returns from which index on the subscription needs the log.
func (s *subscription) needs(unread bool) int64 {
	t := s.topic
	size := int64(t.policy.BufferSize)
	switch lag := s.lag(); {
	case s.stage != following:
		return math.MaxInt64 // it is in the stream
	case t.policy.OnFull == CatchUp || !s.caughtUp && t.policy.History():
		if unread {
			return math.MaxInt64
		}
		return s.index
	case lag <= size:
		return s.index
	case t.policy.OnFull == Disconnect, t.policy.OnFull == DropNewest:
		return math.MaxInt64 // it gets no more, or has what it is owed from keepOldest
	}
	return t.newest(size)
}

// stub is what a log still knows of the last entry that was evicted: enough to
// find out whether the stream has lost it and gave its position to another, also
// where nothing else is left.
type stub struct {
	Entry          // without its bytes
	sum     uint64 // of the bytes
	typical int    // size of the log's entries
}

var stubSeed = maphash.MakeSeed()

func newStub(e *Entry, typical int) *stub {
	s := &stub{Entry: *e, sum: maphash.Bytes(stubSeed, e.Encoded.Frame), typical: typical}
	s.Encoded = Encoded{}
	return s
}

// is tells whether the entry is of the same event. A gap may be any.
func (s *stub) is(e *Entry) bool {
	return s.Gap != nil || e.Gap == nil && e.prev == s.prev && maphash.Bytes(stubSeed, e.Encoded.Frame) == s.sum
}

// wasBefore tells whether an event is the one at the log's start. What the log
// began with is not known, and believed.
func (t *topic) wasBefore(e *Event) bool {
	b := t.log.before
	return b == nil || b.Gap != nil || b.prev == e.Prev && e.Lost == nil && (e.Foreign || b.is(t.entry(e)))
}
