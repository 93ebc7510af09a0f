package channels

import (
	"context"
	"time"
)

// startFill has the log brought up to date. Called with the lock held.
func (t *topic) startFill() {
	if !t.filling && t.heard {
		t.filling, t.failures = true, 0
		t.filling = t.hub.fills.add(t)
	}
}

// fill is what is asked about one topic while its log is brought up to date.
type fill struct {
	topic   *topic
	since   time.Time // when it was begun
	after   Position  // the log's end
	limit   int
	open    bool // the log is to begin
	covered int  // of the pending announcements, those made before the stream was read
	empty   int  // how often in a row nothing was found from the log's end on
	refused bool // a loss could not be recorded
	unheard bool // as topic.unheard
	forked  bool // the stream has another history than the log, from somewhere within it
}

// begin notes what the log needs, and reports whether it still needs anything.
func (f *fill) begin() bool {
	t := f.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.heard {
		t.filling = false
		return false
	}
	t.dirty, f.since = false, time.Now()
	f.unheard = f.unheard || t.unheard
	t.unheard = false
	// An announcement is made after its event is in the stream: what is pending
	// now is covered by what is read from now on.
	f.covered = len(t.pending)
	f.open, f.after, f.limit = !t.joined, t.log.end, t.pageLimit()
	return true
}

// opened gives a new log its place: the stream's present end.
func (f *fill) opened(top Position) {
	t := f.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.reset(top, f.since)
	t.joined, t.renewed = true, time.Now()
}

// trust tells how far what was read can be given to everybody.
type trust int

const (
	trusted  trust = iota // what was told before it has been heard as well
	tooEarly              // it may be about to be announced
	doubted               // it should have been announced by now
)

// trust judges what was read of a stream that nobody had announced: the way by
// which announcements come may be deaf, and revocations come by the same.
func (f *fill) trust(events []Event) trust {
	t := f.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if !f.unheard || len(events) == 0 {
		return trusted
	}
	heard, last := t.log.end, events[len(events)-1].Position
	if n := len(t.pending); n > 0 {
		heard = highest(heard, t.pending[n-1].Position)
	}
	switch {
	case !heard.Less(last), !t.doubt.IsZero() && !heard.Less(t.doubt):
		return trusted
	case t.doubt.IsZero():
		t.doubt = last
		return tooEarly
	}
	return doubted
}

// read appends what the stream has from the log's end on. It reports whether
// that was all, and the log is known to join; where the stream shows nothing,
// only its top can tell.
func (f *fill) read(events []Event) (all bool) {
	t := f.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	full := len(events) >= f.limit
	after := t.log.end
	if len(events) == 0 {
		f.empty++
		return false
	}
	f.empty = 0
	if first := &events[0]; first.Position == after {
		if !t.ends(first) {
			// Another event at the same position: what led there is another
			// history, and nobody knows from where on.
			known := Loss{Upto: after}
			if t.log.newest().prev == first.Prev {
				known.After = first.Prev // it is the last one alone
			}
			t.log.lose(known)
			t.toRecord(Loss{Upto: after})
			t.push(t.lossEntry(*t.lost))
		}
		events = events[1:]
	} else if f.forked = !first.Foreign && t.log.forked(first.Prev); f.forked {
		return false
	} else if first.Lost != nil {
		if first.Prev.Less(after) {
			// Another replica has recorded it. What the stream ended with before the
			// record has survived.
			lost := *first.Lost
			if first.Prev.Less(lost.Upto) {
				lost.After = highest(lost.After, first.Prev)
			}
			t.log.lose(lost)
			if lost.Upto.Less(after) {
				// But it is of less, and perhaps of an earlier time.
				t.lose(Loss{After: first.Prev, Upto: after})
			}
		}
	} else if !first.Foreign && first.Prev.Less(after) {
		t.lose(Loss{After: first.Prev, Upto: after})
	}
	for _, e := range t.chain(after, events) {
		t.push(e)
		t.lag(e)
	}
	for i := range events {
		t.fanOut(&events[i])
	}
	if len(events) > 0 {
		t.wakers.wake()
	}
	return !full
}

// ends tells whether an event of the stream at the log's end is the log's last.
func (t *topic) ends(e *Event) bool {
	if len(t.log.entries) == 0 {
		return t.wasBefore(e)
	}
	return t.is(t.log.newest(), e)
}

// lose notes that the stream does not have what was delivered.
func (t *topic) lose(l Loss) {
	t.log.lose(l)
	t.toRecord(l)
}

// toRecord has a loss recorded, together with those whose records it took.
func (t *topic) toRecord(l Loss) {
	l.After = t.log.recorded(l)
	if t.lost == nil || t.lost.Upto.Less(l.Upto) {
		t.lost = &l
	}
}

func (t *topic) lossEntry(l Loss) *Entry {
	return &Entry{
		Position: t.log.end, lost: &l,
		Gap: &Gap{Channel: t.channel, Reason: GapLost, From: t.log.end, To: t.log.end},
	}
}

// topped takes the stream's top, when nothing was read behind the log's end
// nor the end itself, and reports whether that settles the matter.
func (f *fill) topped(top Position) (settled bool) {
	t := f.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	after := t.log.end
	switch {
	case top == after:
		return true
	case top.Less(after) && !f.refused && t.log.forked(top):
		f.forked = true
		return false
	case top.Less(after) && !f.refused:
		// Redis forgot positions that clients know: the record of that is going to
		// be the stream's end.
		t.lose(Loss{After: top, Upto: after})
		return false
	case top.Less(after):
		// It cannot be recorded, so this log goes back to where the stream is.
		t.lost = nil
		t.log.reset(top, f.since)
		t.push(&Entry{Position: top, lost: &Loss{After: top, Upto: after},
			Gap: &Gap{Channel: t.channel, Reason: GapLost, From: after, To: after}})
	case f.empty < 2:
		return false // something may have been published between the two questions
	default:
		t.push(t.gapEntry(after, top))
	}
	t.wakers.wake()
	return true
}

// forkedAt begins the log anew where the stream and the log part. Of what the
// stream has since, those who stood behind that place cannot be given what lies
// before them: they get a gap. Others read it from the stream.
func (f *fill) forkedAt(place Position) {
	t := f.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	f.forked = false
	l := Loss{After: place, Upto: t.log.end}
	t.lose(l)
	t.log.reset(place, f.since)
	// Its predecessor lies behind it: see subscription.give.
	t.push(&Entry{Position: place, prev: l.Upto, lost: &l, Gap: &Gap{Channel: t.channel, Reason: GapLost, From: place, To: l.Upto}})
	t.wakers.wake()
}

// end joins the pending announcements, and reports whether the log is up to
// date; if not, the stream has to be read again.
func (f *fill) end() bool {
	t := f.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.join(f.covered) || t.lost != nil {
		return false
	}
	t.filling, t.failures, t.doubt = false, 0, Position{}
	t.fills++
	t.wakers.wake()
	return true
}

// join appends the pending announcements, of which the first covered ones are
// either in the log by now or were never in the stream.
func (t *topic) join(covered int) bool {
	covered = min(covered, len(t.pending)) // dropped meanwhile
	for i := range t.pending {
		e := &t.pending[i]
		switch {
		case e.Prev == t.log.end && t.log.end.Less(e.Position):
			t.push(t.entry(e))
			t.fanOut(e)
		case i < covered, !t.log.end.Less(e.Position) && t.holds(e):
		default:
			t.pending = t.pending[i:]
			return false
		}
	}
	t.pending, t.waiting = nil, 0
	return !t.dirty
}

// clockMargin is for how long, at most, a call is on its way to Redis.
const clockMargin = 5 * time.Second

// markLost records what the stream has lost. Where that begins before the log
// does, the log cannot tell whether what survived is of its own history, or was
// published since by a clock that is behind.
func (f *fill) markLost(ctx context.Context) (marked bool, err error) {
	t := f.topic
	t.mu.Lock()
	lost, younger := t.lost, time.Duration(0)
	if lost != nil && lost.After.Less(t.log.start) {
		younger = time.Since(t.log.since) + clockMargin
	}
	t.mu.Unlock()
	if lost == nil {
		return false, nil
	}
	if marked, err = t.hub.broker.MarkLost(ctx, t.channel, *lost, younger); err != nil {
		return false, err
	}
	f.refused = !marked
	t.mu.Lock()
	if t.lost == lost {
		t.lost = nil
	}
	t.mu.Unlock()
	return marked, nil
}
