package channels

import (
	"sort"
	"time"
)

// Entry is one place in a channel's log: an event, or a gap that every
// subscriber crossing this place must be told of. Its exported fields are
// immutable.
type Entry struct {
	Position Position // of the event, or where the gap ends
	Gap      *Gap     // nil for an event
	Encoded  Encoded  // of the event

	prev    Position
	lost    *Loss  // with a Gap: what Redis has lost here
	gone    bool   // Redis has lost this event since; guarded by the topic's lock
	newer   *Entry // of the same key and window: this one is superseded; guarded by the topic's lock
	expires int64  // Unix milliseconds, 0 for never
	seq     int64  // counts the events of the log that are given, not its gaps
}

// Encoded is an event's bytes, made once by Options.Encode and shared by all
// connections. Nobody may change them.
type Encoded struct {
	// Frame is the event as a connection with this one channel gets it; from
	// Body on it is what every connection gets.
	Frame []byte
	Body  int
	// From and To are where the event's JSON object stands in Frame: valid and
	// compact, where the channel is conflated.
	From, To int
}

// JSON is the event's object.
func (e *Encoded) JSON() []byte { return e.Frame[e.From:e.To] }

func (e *Entry) size() int { return len(e.Encoded.Frame) + 128 }

// log is the contiguous tail of a channel's stream that a replica holds:
// every event after start up to end. Entries have indexes that never change
// while the log lives; trimming and prepending move first. Guarded by the
// topic's lock.
type log struct {
	entries []*Entry
	first   int64 // index of entries[0]
	start   Position
	end     Position
	bytes   int
	chunk   []byte    // holds the newest frames, one after the other
	loose   bool      // entries leave from its middle, so each keeps its frame for itself
	seq     int64     // of the last event before the log began, or began anew
	warmed  bool      // the newest events of the stream have been put in front
	since   time.Time // when it began: only from then on can the stream have parted from what came before it

	before *stub   // what is left of the entry at start, if that was evicted
	budget *budget // counts its bytes; nil where nobody does
	used   int64   // the budget's epoch when something was last appended, delivered or replayed
}

// grow counts bytes that came, or with n below zero went.
func (l *log) grow(n int) {
	l.bytes += n
	if l.budget != nil {
		l.budget.add(int64(n))
	}
}

// use notes that the log is not cold.
func (l *log) use() {
	if l.budget != nil {
		l.used = l.budget.epoch.Load()
	}
}

// leave takes the log out of its budget, when nobody will find it any more.
func (l *log) leave() {
	if l.budget != nil {
		l.budget.add(-int64(l.bytes))
		l.budget = nil
	}
}

// newest returns the last entry, without its bytes where the log was emptied, or
// nil where it has had none.
func (l *log) newest() *Entry {
	switch {
	case len(l.entries) > 0:
		return l.entries[len(l.entries)-1]
	case l.before != nil:
		return &l.before.Entry
	}
	return nil
}

func (l *log) next() int64 { return l.first + int64(len(l.entries)) }

func (l *log) at(index int64) *Entry {
	l.use()
	return l.entries[index-l.first]
}

// seqBefore is the sequence number of the last event before index.
func (l *log) seqBefore(index int64) int64 {
	switch {
	case index > l.first:
		return l.at(index - 1).seq
	case len(l.entries) == 0:
		return l.seq
	case l.entries[0].Gap != nil || l.entries[0].newer != nil:
		return l.entries[0].seq
	}
	return l.entries[0].seq - 1
}

func (l *log) reset(at Position, since time.Time) {
	l.grow(-l.bytes)
	*l = log{first: l.next(), start: at, end: at, seq: l.seqBefore(l.next()), since: since, budget: l.budget, used: l.used, loose: l.loose}
}

func (l *log) append(e *Entry) {
	e.seq = l.seqBefore(l.next())
	if e.Gap == nil {
		e.seq++
	}
	l.place(e)
	l.entries = append(l.entries, e)
	l.end = e.Position
	l.use()
	l.grow(e.size())
}

// Sizes of chunks in bytes. A channel's first is as small as its first frame, and
// none is larger than what the log counts, because one entry keeps a whole one.
const (
	maxChunk = 32 << 10
	// maxPlaced is the longest frame that is worth being copied into a chunk.
	maxPlaced = 8 << 10
)

// place moves an entry's frame behind that of the entry before, so that many
// can go out in one write as they stand.
func (l *log) place(e *Entry) {
	n := len(e.Encoded.Frame)
	if n == 0 || n > maxPlaced || l.loose {
		return
	}
	if cap(l.chunk)-len(l.chunk) < n {
		l.chunk = make([]byte, 0, max(n, min(2*cap(l.chunk), maxChunk, l.bytes)))
	}
	begin := len(l.chunk)
	l.chunk = append(l.chunk, e.Encoded.Frame...)
	e.Encoded.Frame = l.chunk[begin:]
}

// joined returns a frame together with the one that stands behind it in
// memory, if that is so.
func joined(frames, next []byte) ([]byte, bool) {
	n := len(frames)
	if cap(frames) <= n || &frames[:n+1][n] != &next[0] {
		return frames, false
	}
	return frames[:n+len(next)], true
}

// prepend puts entries, which must be contiguous and end at start, in front;
// from is the position before the first of them.
func (l *log) prepend(from Position, entries []*Entry) {
	if len(entries) == 0 {
		l.start = from
		return
	}
	seq, bytes := l.seqBefore(l.first), 0
	for i := len(entries) - 1; i >= 0; i-- {
		entries[i].seq = seq
		if entries[i].Gap == nil {
			seq--
		}
		bytes += entries[i].size()
	}
	l.before = nil
	l.use()
	l.grow(bytes)
	l.entries = append(append(make([]*Entry, 0, len(entries)+len(l.entries)+16), entries...), l.entries...)
	l.first -= int64(len(entries))
	l.start = from
}

// evict removes the oldest entries before index.
func (l *log) evict(index int64) {
	n := index - l.first
	if n <= 0 {
		return
	}
	last, typical, freed := l.entries[n-1], l.bytes/len(l.entries), 0
	l.start = last.Position
	for i, e := range l.entries[:n] {
		freed += e.size()
		l.entries[i] = nil // frees the bytes while the array lives on
	}
	l.entries = l.entries[n:]
	l.first = index
	l.before = newStub(last, typical)
	switch {
	case len(l.entries) == 0:
		l.entries, l.chunk, l.seq = nil, nil, last.seq
	case n > int64(len(l.entries)):
		l.entries = append([]*Entry(nil), l.entries...) // the array is mostly empty
	}
	l.grow(-freed)
}

// find returns the index of the first entry after p, and whether p is a place
// of this log: its start, or the position of an entry. A gap at the position of
// the event before it comes after p.
func (l *log) find(p Position) (index int64, exact bool) {
	if p == l.start {
		return l.first, true
	}
	i := sort.Search(len(l.entries), func(i int) bool { return !l.entries[i].Position.Less(p) })
	if i < len(l.entries) && l.entries[i].Position == p {
		return l.first + int64(i) + 1, true
	}
	return l.first + int64(i), false
}

// keeps tells whether an event of this position is here, and in Redis too as
// far as is known.
func (l *log) keeps(p Position) bool {
	index, exact := l.find(p)
	var e *Entry
	switch {
	case exact && index > l.first:
		e = l.at(index - 1)
	case exact && l.before != nil:
		e = &l.before.Entry
	default:
		return false
	}
	return e.Gap == nil && !e.gone
}

// lose marks what Redis has lost.
func (l *log) lose(lost Loss) {
	if s := l.before; s != nil && lost.After.Less(s.Position) && !lost.Upto.Less(s.Position) {
		s.gone = true
	}
	for i := len(l.entries) - 1; i >= 0 && lost.After.Less(l.entries[i].Position); i-- {
		if e := l.entries[i]; !lost.Upto.Less(e.Position) && e.Gap == nil {
			e.gone = true
		}
	}
}

// forked tells whether a stream that has a position has another history: the
// position lies within this log, but is none of its places.
func (l *log) forked(p Position) bool {
	if !l.start.Less(p) || !p.Less(l.end) {
		return false
	}
	_, exact := l.find(p)
	return !exact
}

// events returns those that the log holds.
func (l *log) events() []*Entry {
	list := make([]*Entry, 0, len(l.entries))
	for _, e := range l.entries {
		if e.Gap == nil {
			list = append(list, e)
		}
	}
	return list
}

// recorded returns from where on events are lost, when with these also the
// records of earlier losses are: not everybody has been told of those.
func (l *log) recorded(lost Loss) Position {
	after := lost.After
	for i := len(l.entries) - 1; i >= 0 && lost.After.Less(l.entries[i].Position); i-- {
		if e := l.entries[i]; e.lost != nil && !lost.Upto.Less(e.Position) && e.lost.After.Less(after) {
			after = e.lost.After
		}
	}
	return after
}
