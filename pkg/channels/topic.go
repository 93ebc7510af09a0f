package channels

import (
	"slices"
	"sync"
	"time"
)

// topic is one channel with local subscribers: its log, the join of what is
// announced with what the stream keeps, and who waits for more.
//
// The join: a topic asks the broker to subscribe, and only once that is
// confirmed reads the stream (fill, in fill.go). What is announced meanwhile
// waits in pending and is joined by position. The same happens whenever
// something may have been missed: after a reconnect, and when an announcement
// names a predecessor that is not the end of the log.
type topic struct {
	hub     *Hub
	channel string
	policy  *Policy

	mu       sync.Mutex
	log      log
	joined   bool      // the log's start and end are known
	heard    bool      // the broker's subscription stands
	dirty    bool      // something may have been missed
	unheard  bool      // the stream may have what should have been announced; see fill.trust
	doubt    Position  // of the last event that was read and not announced
	filling  bool      // a fill waits for its turn, or runs
	pending  []Event   // announced while the log was not up to date
	waiting  int       // bytes of pending
	fills    uint64    // completed fills, by which a subscriber knows that one happened since
	failures int       // of the present fill
	lost     *Loss     // what the stream has lost, and nobody has recorded yet
	renewed  time.Time // when the stream's life was

	window *window // nil where the policy conflates nothing
	subs   []*subscription
	wakers wakers
	pages  map[pageKey]*page // history being read, or just read
	linger *time.Timer       // releases the topic when nobody has come back
}

// maxPending bounds the announcements that wait for a fill. Beyond it they are
// dropped, and the stream is read once more.
const (
	maxPending      = 1024
	maxPendingBytes = 4 << 20
)

// Bounds of a topic's log. A channel with history keeps as much of it as a
// reconnecting client may ask for, so that most replays cost Redis nothing.
const (
	maxLogEntries = 4096
	maxLogBytes   = 16 << 20
)

func (t *topic) logCap() int {
	return max(2*t.policy.BufferSize, min(t.policy.HistorySize, maxLogEntries))
}

func (t *topic) confirmed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = true
	if !t.policy.History() {
		if !t.joined {
			t.joined = true
			t.log.reset(Position{}, time.Now())
		}
		t.wakers.wake()
		return
	}
	t.dirty = true
	t.startFill()
}

func (t *topic) deaf() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = false
	// confirmed would be soon enough: it asks for a read whatever was known. Until
	// then what is still on its way has to wait.
	t.dirty = t.policy.History()
	t.pending, t.waiting = nil, 0
}

func (t *topic) unclear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.policy.History() {
		t.miss()
	}
}

func (t *topic) miss() {
	t.dirty = true
	if t.hub.hooks.Missed != nil {
		t.hub.hooks.Missed()
	}
	t.startFill()
}

func (t *topic) announced(e Event, soon *kicks) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.policy.History():
		if t.joined {
			t.accept(&e, soon)
		}
	case !t.joined || t.dirty || t.filling:
		if len(t.pending) >= t.hub.pending || t.waiting > maxPendingBytes {
			t.pending, t.waiting, t.dirty = nil, 0, true
			return
		}
		t.pending = append(t.pending, e)
		t.waiting += len(e.Payload)
	case e.Prev == t.log.end && t.log.end.Less(e.Position):
		t.accept(&e, soon)
	case !t.log.end.Less(e.Position) && t.holds(&e):
		// Read from the stream already, or delivered twice by Redis.
	default:
		t.pending = append(t.pending, e)
		t.miss()
	}
}

// holds tells whether an announced event is one that the log has, and not
// another one at a position that Redis gave twice or that lies between two of
// the log's, or before it.
func (t *topic) holds(e *Event) bool {
	index, exact := t.log.find(e.Position)
	switch {
	case !exact:
		return false
	case index == t.log.first:
		return t.wasBefore(e)
	}
	return t.is(t.log.at(index-1), e)
}

// is tells whether an entry of the log was made of this event.
func (t *topic) is(at *Entry, e *Event) bool {
	return at.Gap != nil || at.prev == e.Prev && e.Lost == nil && (e.Foreign || string(t.hub.encode(t.channel, e).Frame) == string(at.Encoded.Frame))
}

// accept appends a live event and wakes who waits for it.
func (t *topic) accept(e *Event, soon *kicks) {
	entry := t.entry(e)
	t.push(entry)
	t.lag(entry)
	t.fanOut(e)
	if !t.holding() {
		for i := range t.wakers.list {
			soon.wake(t.wakers.list[i].waker)
		}
	}
}

// lag tells how late an event came, by announcement or by reading.
func (t *topic) lag(e *Entry) {
	if h := t.hub.hooks; h.Lag != nil && e.Gap == nil {
		h.Lag(t.hub.now().Sub(e.Position.Time()))
	}
}

// fanOut tells of an event for those who follow the log, before they are woken.
func (t *topic) fanOut(e *Event) {
	if h := t.hub.hooks.FanOut; h != nil && !e.Foreign && e.Lost == nil {
		h(t.channel, e, len(t.subs))
	}
}

func (t *topic) push(e *Entry) {
	if e.Gap == nil && t.hub.hooks.EventIn != nil {
		t.hub.hooks.EventIn()
	}
	t.log.append(e)
	if t.window != nil {
		t.hold(e)
	}
	limit := t.logCap()
	if n := len(t.log.entries); n > limit+limit/4+16 || t.log.bytes > maxLogBytes && n > 1 {
		t.evict(limit)
	}
}

// evict shortens the log to limit entries and to three quarters of its bytes.
func (t *topic) evict(limit int) {
	index := max(t.log.first, t.log.next()-int64(limit))
	if t.log.bytes > maxLogBytes {
		left := t.log.bytes
		for i, e := range t.log.entries {
			if left <= maxLogBytes*3/4 || i == len(t.log.entries)-1 {
				break
			}
			left -= e.size()
			index = max(index, t.log.first+int64(i)+1)
		}
	}
	t.cut(index)
}

// cut removes what lies before an index from the log.
func (t *topic) cut(index int64) {
	if t.policy.OnFull == DropNewest {
		// A connection of this policy is owed the oldest events of its lag.
		for _, s := range t.subs {
			s.keepOldest(index)
		}
	}
	t.log.evict(index)
}

func (t *topic) entry(e *Event) *Entry {
	if e.Lost != nil {
		return &Entry{
			Position: e.Position, prev: e.Prev, lost: e.Lost,
			Gap: &Gap{Channel: t.channel, Reason: GapLost, From: e.Prev, To: e.Position},
		}
	}
	return &Entry{
		Position: e.Position,
		prev:     e.Prev,
		expires:  e.expires(t.policy),
		Encoded:  t.hub.encode(t.channel, e),
	}
}

// chain turns events that were read after a position into entries, with a gap
// wherever one does not name the one before it.
func (t *topic) chain(after Position, events []Event) []*Entry {
	entries := make([]*Entry, 0, len(events))
	for i := range events {
		e := &events[i]
		if e.Foreign {
			entries = append(entries, t.gapEntry(after, e.Position))
			after = e.Position
			continue
		}
		if e.Prev != after && e.Lost == nil {
			gap := t.gapEntry(after, e.Prev)
			if gap.lost != nil {
				// It stands for all that was lost before this event, also where a
				// record that comes later knows of more.
				gap.lost.Upto, gap.Gap.To = e.Position, e.Position.before()
			}
			entries = append(entries, gap)
		}
		entries = append(entries, t.entry(e))
		after = e.Position
	}
	return entries
}

// gapEntry is the gap between two positions that do not join. Where the stream
// goes on from before from, it has lost what came after to.
func (t *topic) gapEntry(from, to Position) *Entry {
	e := &Entry{Position: to, Gap: &Gap{Channel: t.channel, Reason: GapTrimmed, From: from, To: to}}
	if to.Less(from) {
		// Positions of a log only grow.
		e.lost = &Loss{After: to, Upto: from}
		e.Position, e.Gap.To, e.Gap.Reason = from, from, GapLost
	} else if ttl := t.policy.HistoryTTL; to.Time().Add(ttl).Before(t.hub.now()) {
		e.Gap.Reason = GapExpired
	}
	return e
}

// wakers is a set of wakers in which each counts how often it was added: many
// subscriptions can share one, and are then woken once.
type wakers struct {
	list []wakerCount
	at   map[Waker]int // nil while there are few
}

type wakerCount struct {
	waker Waker
	count int
}

// fewWakers are found faster, and in less memory, without a map.
const fewWakers = 8

func (w *wakers) find(k Waker) (at int, ok bool) {
	if w.at != nil {
		at, ok = w.at[k]
		return at, ok
	}
	at = slices.IndexFunc(w.list, func(c wakerCount) bool { return c.waker == k })
	return at, at >= 0
}

func (w *wakers) add(k Waker) {
	if i, ok := w.find(k); ok {
		w.list[i].count++
		return
	}
	w.list = append(w.list, wakerCount{k, 1})
	if w.at != nil {
		w.at[k] = len(w.list) - 1
	} else if len(w.list) > fewWakers {
		w.at = make(map[Waker]int, 2*fewWakers)
		for i, c := range w.list {
			w.at[c.waker] = i
		}
	}
}

func (w *wakers) remove(k Waker) {
	i, ok := w.find(k)
	if !ok {
		return
	}
	if w.list[i].count--; w.list[i].count > 0 {
		return
	}
	last := len(w.list) - 1
	w.list[i] = w.list[last]
	w.list[last] = wakerCount{}
	w.list = w.list[:last]
	if w.at != nil {
		if i < last {
			w.at[w.list[i].waker] = i
		}
		delete(w.at, k)
	}
}

func (w *wakers) wake() {
	for i := range w.list {
		w.list[i].waker.Wake()
	}
}
