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
	// JSON is the event's object, a part of Frame: valid and compact, where the
	// channel is conflated.
	JSON []byte
}

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
	seq     int64     // of the last event before the log began, or began anew
	since   time.Time // when it began: only from then on can the stream have parted from what came before it
}

func (l *log) next() int64 { return l.first + int64(len(l.entries)) }

func (l *log) at(index int64) *Entry { return l.entries[index-l.first] }

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
	*l = log{first: l.next(), start: at, end: at, seq: l.seqBefore(l.next()), since: since}
}

func (l *log) append(e *Entry) {
	e.seq = l.seqBefore(l.next())
	if e.Gap == nil {
		e.seq++
	}
	l.entries = append(l.entries, e)
	l.end = e.Position
	l.bytes += e.size()
}

// prepend puts entries, which must be contiguous and end at start, in front;
// from is the position before the first of them.
func (l *log) prepend(from Position, entries []*Entry) {
	if len(entries) == 0 {
		l.start = from
		return
	}
	seq := l.seqBefore(l.first)
	for i := len(entries) - 1; i >= 0; i-- {
		entries[i].seq = seq
		if entries[i].Gap == nil {
			seq--
		}
		l.bytes += entries[i].size()
	}
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
	l.start = l.entries[n-1].Position
	for i, e := range l.entries[:n] {
		l.bytes -= e.size()
		l.entries[i] = nil // frees the bytes while the array lives on
	}
	l.entries = l.entries[n:]
	l.first = index
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
	if !exact || index == l.first {
		return false
	}
	e := l.at(index - 1)
	return e.Gap == nil && !e.gone
}

// lose marks what Redis has lost.
func (l *log) lose(lost Loss) {
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
