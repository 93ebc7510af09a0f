package channels

import (
	"context"
	"errors"
)

// pageKey says what a page is of: the events after a position, or, where tail
// is above zero, the newest tail events. anew means that nobody was at this
// position before, so that there is no gap before the first event.
type pageKey struct {
	after Position
	tail  int
	anew  bool
	warm  bool // of the newest events, put in front of a log that has few
}

// page is one read of history, shared by all subscriptions that need the same
// one at the same time. Guarded by the topic's lock until ready.
type page struct {
	key     pageKey
	limit   int // of events
	ready   bool
	err     error
	start   Position // before the first entry
	entries []*Entry
	waiting []Waker
}

// Bounds of a page. A client that is slow keeps the one that it is reading, and
// pages of many sizes are read at the same time.
const (
	pageEvents = 128
	pageBytes  = 256 << 10
)

// pageLimit is how many events a page asks for, by the size of those known.
// Called with the lock held.
func (t *topic) pageLimit() int {
	n, bytes := len(t.log.entries), t.log.bytes
	switch {
	case n > 0:
	case t.log.before != nil:
		n, bytes = 1, t.log.before.typical
	default:
		return pageEvents
	}
	return min(max(pageBytes*n/max(bytes, 1), 4), pageEvents)
}

// cold tells whether a read of the newest events would lengthen the log. The
// first who resumes on it then serves all who follow, whatever their positions:
// one read for each stream, when a new replica gets the clients of another.
func (t *topic) cold() bool { return !t.log.warmed && len(t.log.entries) < pageEvents }

// request returns the page, being read or just read, and has w woken when it
// is ready. Called with the lock held.
func (t *topic) request(key pageKey, w Waker) *page {
	t.log.use()
	p, ok := t.pages[key]
	if !ok {
		p = &page{key: key, limit: t.pageLimit()}
		if t.pages == nil {
			t.pages = make(map[pageKey]*page)
		}
		t.pages[key] = p
		t.hub.spawn(func(ctx context.Context) {
			t.read(ctx, p)
			t.hub.relieve()
		})
	}
	p.waiting = append(p.waiting, w)
	return p
}

// errUnheard is of a page that has to be read again when the log is up to date.
var errUnheard = errors.New("only what was not announced yet")

func (t *topic) read(ctx context.Context, p *page) {
	t.mu.Lock()
	logStart := t.log.start
	t.mu.Unlock()

	var events []Event
	var err error
	var done func(int, error)
	if h := t.hub.hooks.Replaying; h != nil {
		done = h(t.channel)
	}
	if p.key.warm {
		events, err = t.hub.broker.Newest(ctx, t.channel, p.limit)
	} else if p.key.tail > 0 {
		events, err = t.hub.broker.Newest(ctx, t.channel, p.key.tail)
	} else {
		events, err = t.hub.broker.Read(ctx, t.channel, p.key.after, p.limit)
	}
	if done != nil {
		done(len(events), err)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() {
		p.ready = true
		delete(t.pages, p.key)
		for _, w := range p.waiting {
			w.Wake()
		}
		p.waiting = nil
	}()
	if err != nil {
		p.err = err
		t.dirty = true // has the next check of the tops try again
		t.hub.failed("read history", t.channel, err)
		return
	}
	if h := t.hub.hooks.Read; h != nil {
		h(FromHistory)
	}
	// What was not announced yet is not given out by a page either: what is heard
	// comes in order, and a revocation may come before it.
	heard := len(events)
	for heard > 0 && t.log.end.Less(events[heard-1].Position) {
		heard--
	}
	cut := heard < len(events)
	events = events[:heard]
	p.start = p.key.after
	if p.key.anew || p.key.warm {
		p.start = t.log.end
		if len(events) > 0 {
			p.start = events[0].Prev
		}
	}
	p.entries = t.chain(p.start, events)
	if p.key.warm {
		t.log.warmed = true
		t.keep(p)
	}
	if p.key.anew || p.key.warm {
		return
	}
	last := p.start
	if n := len(p.entries); n > 0 {
		last = p.entries[n-1].Position
	}
	// A page that was not full holds all there was, so what is missing between
	// its end and the log's start is gone from the stream.
	if cut && last.Less(logStart) {
		// What is missing before them goes on in what a fill has to read.
		p.err, t.dirty, t.unheard = errUnheard, true, true
		t.startFill()
		return
	}
	if len(events) < p.limit && last.Less(logStart) {
		p.entries = append(p.entries, t.gapEntry(last, logStart))
	}
	t.keep(p)
}

// keep puts the page in front of the log when it fits on and in, so that the
// next who asks needs no read.
func (t *topic) keep(p *page) {
	for i, e := range p.entries {
		if e.Position != t.log.start {
			continue
		}
		if b := t.log.before; b != nil && !b.is(e) {
			return // the stream has lost what was here, which is for a fill to find out
		}
		bytes := t.log.bytes
		for _, e := range p.entries[:i+1] {
			bytes += e.size()
		}
		if len(t.log.entries)+i+1 <= t.logCap() && bytes <= maxLogBytes/2 {
			t.log.prepend(p.start, p.entries[:i+1])
		}
		return
	}
}
