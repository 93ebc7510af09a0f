package channels

import (
	"math"
	"time"
)

// Start says where a subscription begins.
type Start struct {
	// Resume goes on after this position; nil begins anew.
	Resume *Position
	// Unreadable begins anew with a gap, for a cursor of another version.
	Unreadable bool
	// LastN is how many past events to begin with; negative means as many as
	// MaxAge allows. MaxAge is the age of the oldest of them; zero means any.
	LastN  int
	MaxAge time.Duration
}

type stage int

const (
	starting  stage = iota // the first position is not known yet
	replaying              // somewhere before the log: reading pages, or waiting for the log to get here
	following              // at an index of the log
)

// subscription is a subscriber's place on one channel. Guarded by its topic's
// lock.
type subscription struct {
	topic *topic
	at    int   // index in the topic's subs
	waker Waker // of what concerns this one alone
	group Waker // of what concerns everyone on the channel
	begin Start
	first Position // where it began, once it is not starting

	stage    stage
	pos      Position // of the last event or gap that was taken
	seq      int64    // of the last event that was taken, while following
	index    int64    // of the next entry, while following
	caughtUp bool     // has reached the log's end once: from then on BufferSize counts
	page     *page
	pageAt   int
	kept     []*Entry // DropNewest: the lag's oldest events, saved from eviction
	needFill uint64   // the fill after which a position beyond the log counts as lost
	gap      *Gap     // to be given before the next event
	told     *Loss    // of what Redis lost, the last that was given
	skipped  bool     // events after pos are lost, and the gap for them comes later
	read     Position // of the last event that came from a page
	due      int64    // the log's end when it began to follow
	final    bool     // it ends: nothing is held back from it any more
}

// take appends what is ready to out, as long as there is room. Called
// with the lock held.
func (s *subscription) take(now time.Time, at int, out []Delivery, r *room) ([]Delivery, error) {
	t := s.topic
	for r.left() {
		switch s.stage {
		case starting:
			if !s.start(now, r) {
				return out, nil
			}
		case replaying:
			if s.page == nil {
				if t.log.start.Less(s.pos) || t.log.start == s.pos {
					if !s.place() {
						return out, nil
					}
					continue
				}
				if !r.page() {
					return out, nil
				}
				key := pageKey{after: s.pos}
				if t.cold() {
					key = pageKey{warm: true}
				}
				s.page, s.pageAt = t.request(key, s.waker), 0
				s.needFill = 0 // it was about a position before those of the page
			}
			if !s.page.ready {
				return out, nil
			}
			if s.page.err != nil {
				// The stream stays open; the next fill that succeeds wakes it up.
				s.leavePage(r)
				return out, nil
			}
			if s.page.key.warm {
				s.leavePage(r)
				continue // the log may reach back now
			}
			for s.pageAt < len(s.page.entries) && r.left() {
				e := s.page.entries[s.pageAt]
				out = s.give(now, at, e, out, r)
				if e.Gap == nil {
					s.read = e.Position
				}
				s.pageAt++
			}
			if s.pageAt == len(s.page.entries) {
				s.leavePage(r)
			}
		case following:
			var err error
			if out, err = s.follow(now, at, out, r); err != nil || s.stage == following {
				return out, err
			}
		}
	}
	return out, nil
}

// start finds the first position, and reports whether it is known.
func (s *subscription) start(now time.Time, r *room) bool {
	t := s.topic
	if !t.joined {
		return false
	}
	s.stage, s.pos = replaying, t.log.end
	switch {
	case !t.policy.History():
		s.stage, s.index, s.caughtUp = following, t.visible(), true
		s.seq = t.log.seqBefore(s.index)
	case s.begin.Resume != nil:
		s.pos = *s.begin.Resume
	case s.begin.Unreadable:
		s.gap = &Gap{Channel: t.channel, Reason: GapCursor, To: t.log.end}
	case s.begin.LastN != 0:
		if !s.startInPast(now, r) {
			s.stage = starting
			return false
		}
	}
	s.first = s.pos
	return true
}

// startInPast places the subscription before the last events it asked for.
func (s *subscription) startInPast(now time.Time, r *room) bool {
	t := s.topic
	oldest := int64(0)
	if s.begin.MaxAge > 0 {
		oldest = now.Add(-s.begin.MaxAge).UnixMilli()
	}
	if s.page == nil {
		if !r.page() {
			return false
		}
		key := pageKey{anew: true, tail: min(s.begin.LastN, t.policy.HistorySize)}
		if s.begin.LastN < 0 {
			key = pageKey{anew: true, after: Position{Millis: uint64(max(oldest-1, 0)), Seq: math.MaxUint64}}
		}
		s.page = t.request(key, s.waker)
	}
	if !s.page.ready {
		return false
	}
	if s.page.err != nil {
		s.leavePage(r)
		return false
	}
	s.pos = s.page.start
	for s.pageAt = 0; s.pageAt < len(s.page.entries); s.pageAt++ {
		e := s.page.entries[s.pageAt]
		if e.Gap == nil && int64(e.Position.Millis) >= oldest && !e.expired(now) {
			break
		}
		s.pos = e.Position
	}
	if len(r.of.subs) > maxPages {
		s.leavePage(r) // so that the others can begin as well; it is read again
	}
	return true
}

func (s *subscription) leavePage(r *room) {
	s.page = nil
	r.giveBack()
}

// place moves from replaying to following, and reports whether it could. A
// position that the log does not know means that this replica has not heard yet
// of what another one has delivered, or that Redis lost it, or that it was given
// by another master than this replica has heard; a fill tells.
func (s *subscription) place() bool {
	t := s.topic
	index, exact := t.log.find(s.pos)
	if index > t.log.first && !exact {
		// A break in the chain stands at its beginning, and reaches further.
		if g := t.log.at(index - 1).Gap; g != nil && s.pos.Less(g.To) {
			index--
		}
	}
	known := exact || index < t.log.next() && t.log.at(index).Gap != nil && t.log.at(index).lost == nil // or inside of a gap that comes next
	if t.log.end.Less(s.pos) || !known {
		if s.needFill == 0 {
			s.needFill = t.fills + 1 // dirty makes a present one read again
		}
		if t.fills < s.needFill {
			t.dirty, t.unheard = true, true
			t.startFill()
			return false
		}
	}
	s.needFill = 0
	s.stage, s.index, s.seq, s.due = following, index, t.log.seqBefore(index), t.log.next()
	if h := t.hub.hooks.Read; h != nil && index < t.log.next() {
		h(FromLog)
	}
	if known {
		return true
	}
	to := t.log.start
	if index > t.log.first {
		to = t.log.at(index - 1).Position
	}
	// The position stays the client's, also in its cursor: this replica may have
	// asked a master that is about to be replaced, and another one still knows it.
	gap := Gap{Channel: t.channel, Reason: GapLost, From: s.pos, To: s.pos}
	// Another replica may know of it too, and record it later.
	s.told = &Loss{After: to, Upto: s.pos}
	if index < t.log.next() && t.log.at(index).Gap == nil {
		// It stands for all that was lost before the next event.
		s.told.Upto = t.log.at(index).Position
		gap.To = s.told.Upto.before()
	}
	s.addGap(gap)
	return true
}

// follow reads on in the log. It leaves the stage following when the log no
// longer reaches back to the subscription and history has to help out.
func (s *subscription) follow(now time.Time, at int, out []Delivery, r *room) ([]Delivery, error) {
	t := s.topic
	size := int64(t.policy.BufferSize)
	switch lag := s.lag(); {
	case t.policy.OnFull == CatchUp || !s.caughtUp && t.policy.History():
		if s.index < t.log.first {
			s.stage = replaying
			return out, nil
		}
	case lag <= size && s.index >= t.log.first && s.kept == nil:
	case t.policy.OnFull == Disconnect:
		return out, ErrSlow
	case t.policy.OnFull == DropNewest && (s.kept != nil || s.index >= t.log.first):
		keep := s.kept
		if keep == nil {
			from := s.index - t.log.first
			keep = t.log.entries[from:min(from+size, int64(len(t.log.entries)))]
		}
		for _, e := range keep {
			out = s.give(now, at, e, out, r)
		}
		s.kept = nil
		s.drop(t.visible())
	default:
		s.drop(t.newest(size))
	}
	end := s.visible()
	for s.index < end && r.left() {
		out = s.give(now, at, t.log.at(s.index), out, r)
		s.index++
	}
	if s.index >= end {
		s.caughtUp = s.caughtUp || s.index >= s.due
		if end == t.log.next() { // else it goes before what is held back, which may yet be trimmed
			out = s.giveGap(at, out)
		}
	}
	return out, nil
}

// run moves over events that need no judgement and whose frames stand one after
// the other, and returns these. rest tells that something else is ready.
func (s *subscription) run(now time.Time, limit int) (frames []byte, events int, rest bool) {
	t := s.topic
	if s.stage != following || s.gap != nil || s.skipped || s.kept != nil || s.index < t.log.first {
		return nil, 0, true
	}
	end := s.visible()
	if s.index >= end {
		return nil, 0, !s.caughtUp
	}
	if t.policy.OnFull != CatchUp && s.lag() > int64(t.policy.BufferSize) {
		return nil, 0, true
	}
	i := s.index
	for ; i < end; i++ {
		e := t.log.at(i)
		if e.Gap != nil || e.gone && !s.caughtUp || e.superseded(s.caughtUp) || e.expired(now) || s.ahead(e) {
			break
		}
		if frames == nil {
			frames = e.Encoded.Frame
			continue
		}
		longer, ok := joined(frames, e.Encoded.Frame)
		if !ok && len(frames) < limit/8 {
			return nil, 0, true // rather one write of all than many of little
		}
		if !ok || len(longer) > limit {
			break
		}
		frames = longer
	}
	if frames == nil {
		return nil, 0, true
	}
	last := t.log.at(i - 1)
	events = int(i - s.index)
	s.index, s.pos, s.seq = i, last.Position, last.seq
	s.caughtUp = s.caughtUp || i == end && i >= s.due
	return frames, events, i < end
}

// drop skips to index.
func (s *subscription) drop(index int64) {
	t := s.topic
	to := t.log.start
	if index > t.log.first {
		to = t.log.at(index - 1).Position
	}
	seq := t.log.seqBefore(index)
	if seq > s.seq {
		s.addGap(Gap{Channel: t.channel, Reason: GapDropped, From: s.pos, To: to, Count: seq - s.seq})
		t.hub.dropped(DropFull, int(seq-s.seq))
	}
	s.index, s.pos, s.seq = index, highest(s.pos, to), seq
}

// keepOldest saves, before the log is cut at index, the events that DropNewest
// owes to this subscription.
func (s *subscription) keepOldest(index int64) {
	t := s.topic
	if s.stage != following || !s.caughtUp || s.kept != nil || s.index >= index || s.index < t.log.first {
		return
	}
	from := s.index - t.log.first
	to := min(from+int64(t.policy.BufferSize), t.visible()-t.log.first)
	s.kept = append([]*Entry(nil), t.log.entries[from:to]...)
}

// give appends an entry, or notes that it is missing.
func (s *subscription) give(now time.Time, at int, e *Entry, out []Delivery, r *room) []Delivery {
	switch {
	case e.gone && !s.caughtUp:
		// Who comes back gets the same from every replica: what Redis has. Who was
		// here gets what this replica still has.
		s.skipped = true
		return out
	case e.superseded(s.caughtUp):
		s.seq = e.seq // its position passes with that of the next
		return out
	case s.ahead(e):
		// It came here with what another replica had delivered, or Redis has lost
		// that and its clock is behind. It must not come twice, nor be missing in
		// silence.
		if e.Gap == nil {
			s.addGap(Gap{Channel: s.topic.channel, Reason: GapLost, From: e.Position.before(), To: s.pos})
		}
	case e.lost != nil && e.lost.After == e.Position && !e.lost.After.Less(s.pos):
		// The log began anew here, and the subscriber has seen nothing else.
	case e.Gap != nil && e.lost != nil && s.told.covers(e.lost):
		// Given already, where the next event showed it before it was recorded.
		if s.skipped {
			return out // the next gap begins before this place
		}
	case e.Gap != nil:
		gap := *e.Gap
		gap.From = s.pos
		if e.lost != nil {
			// It stands for all that was lost up to here.
			upto := highest(e.lost.Upto, e.Position)
			if e.lost.After == e.Position && s.pos.Less(gap.To) {
				// The log began anew here. Who had come less far than it had is given
				// what the stream has from there on, and is told of the rest by the
				// record.
				gap.To, upto = s.pos, s.pos
			}
			s.told = &Loss{After: e.lost.After, Upto: upto}
			// What followed the loss may have come before the record of it, and with
			// the clock of a new master behind, lie before this position.
			followed := e.lost.Upto.Less(s.pos) || s.pos == s.read || s.topic.log.keeps(s.pos) || e.lost.After.Less(e.prev)
			if followed && e.lost.After.Less(s.pos) {
				gap.From = e.lost.After
			}
		}
		s.addGap(gap)
	case e.expired(now):
		s.addGap(Gap{Channel: s.topic.channel, Reason: GapExpired, From: s.pos, To: e.Position, Count: 1})
		s.topic.hub.dropped(DropExpired, 1)
	default:
		if s.skipped {
			s.addGap(Gap{Channel: s.topic.channel, Reason: GapLost, From: s.pos, To: e.Position.before()})
		}
		out = append(s.giveGap(at, out), Delivery{Channel: at, Entry: e})
		r.take(e)
	}
	s.seq, s.skipped = e.seq, false
	if s.pos.Less(e.Position) || !s.topic.policy.History() {
		s.pos = e.Position
	}
	return out
}

// ahead tells whether a position that Redis gave later was reached already.
func (s *subscription) ahead(e *Entry) bool {
	if !s.topic.policy.History() || e.lost != nil {
		return false
	}
	return e.Position.Less(s.pos) || e.Position == s.pos && e.Gap == nil
}

// addGap joins gaps that have no event between them into one.
func (s *subscription) addGap(g Gap) {
	if s.gap == nil {
		s.gap = &g
		return
	}
	s.gap.join(&g)
}

func (s *subscription) giveGap(at int, out []Delivery) []Delivery {
	if s.gap == nil {
		return out
	}
	if h := s.topic.hub.hooks.Gap; h != nil {
		h(s.gap.Reason)
	}
	s.gap.at = s.pos
	out = append(out, Delivery{Channel: at, Gap: s.gap})
	s.gap = nil
	return out
}

func (e *Entry) expired(now time.Time) bool {
	return e.expires != 0 && e.expires <= now.UnixMilli()
}
