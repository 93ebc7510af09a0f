package chaos

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// kindOfViolation is a closed set.
type kindOfViolation string

const (
	missing      kindOfViolation = "missing"       // events were skipped in silence
	duplicate    kindOfViolation = "duplicate"     // an event came again
	disorder     kindOfViolation = "disorder"      // an event came behind a later one
	unfinished   kindOfViolation = "unfinished"    // the end was not reached, though nothing disturbed any more
	invented     kindOfViolation = "invented"      // an event that nobody published
	gapNeedless  kindOfViolation = "gap-needless"  // nothing is missing
	gapTooWide   kindOfViolation = "gap-too-wide"  // it covers what the stream still has
	gapInexact   kindOfViolation = "gap-inexact"   // it does not begin or end where it should
	gapTwice     kindOfViolation = "gap-twice"     // two between two events
	gapUnfounded kindOfViolation = "gap-unfounded" // lost, where nothing loses data
	lossUntold   kindOfViolation = "loss-untold"   // others saw an event that Redis lost, this client was not told
	lossInexact  kindOfViolation = "loss-inexact"  // it was told at that place, but of less than was lost
	resumedWrong kindOfViolation = "resumed-wrong" // a stream began elsewhere than its cursor said
	refused      kindOfViolation = "refused"       // a browser would give up for ever

	chainBroken      kindOfViolation = "chain-broken"
	recordedTwice    kindOfViolation = "recorded-twice"
	recordedLate     kindOfViolation = "recorded-late"
	acknowledgedGone kindOfViolation = "acknowledged-gone"
)

// violation is a promise that was broken, and what surrounds it.
type violation struct {
	kind            kindOfViolation
	client, channel string
	what            string
	seen            []item // what the client saw up to it
	faults          []played
}

func (v violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s %s: %s", v.kind, v.client, v.channel, v.what)
	for _, i := range v.seen {
		fmt.Fprintf(&b, "\n\t%v", i)
	}
	for _, f := range v.faults {
		fmt.Fprintf(&b, "\n\tfault %v", f)
	}
	return b.String()
}

// How much of what surrounds a violation is shown.
const (
	shownItems  = 20
	shownBefore = 15 * time.Second
	shownAfter  = 2 * time.Second
)

// prove compares the stories of one channel with its truth.
func prove(t *truth, stories []*story, faults []played) []violation {
	line, found := t.timeline(faults)
	heard := map[position]bool{}
	for _, s := range stories {
		for _, i := range s.items {
			if at, known := line.find(i.n, i.ms); i.what == event && known {
				heard[at] = true
			}
		}
	}
	for _, s := range stories {
		r := reader{timeline: line, story: s, sawAt: map[int]item{}, saw: map[position]bool{}}
		r.read(heard)
		found = append(found, r.found...)
	}
	return found
}

// reader walks through a story and holds it against the timeline.
type reader struct {
	timeline
	story *story
	found []violation
	items []item // the story with the gaps of polls in their places
	index int

	begun bool
	start position
	// at is the place in the stream: everything kept up to it was seen or told.
	// last is the position of the newest event or gap, exact if so known.
	// They differ only where Redis lost what the client saw.
	at, last position
	exact    bool
	blurred  bool         // of last only the millisecond is known: nobody had the event acknowledged
	previous *item        // the gap, if that was the last thing
	sawAt    map[int]item // by number
	saw      map[position]bool
	gaps     []item
}

func (r *reader) bad(k kindOfViolation, format string, args ...any) {
	v := violation{kind: k, client: r.story.client, channel: r.story.channel, what: fmt.Sprintf(format, args...)}
	v.seen = r.items[max(0, r.index-shownItems+1):min(r.index+1, len(r.items))]
	if n := len(v.seen); n > 0 {
		first, last := v.seen[0].when.Add(-shownBefore), v.seen[n-1].when.Add(shownAfter)
		for _, f := range r.faults {
			if !f.end.Before(first) && !f.begin.After(last) {
				v.faults = append(v.faults, f)
			}
		}
	}
	r.found = append(r.found, v)
}

func (r *reader) read(heard map[position]bool) {
	r.items = r.arranged()
	for i, it := range r.items {
		r.index = i
		if r.twin(it) {
			return
		}
		switch it.what {
		case opened:
			r.opened(it)
		case event:
			r.event(it)
		case gap:
			r.gap(it)
		}
	}
	switch {
	case !r.begun:
		r.bad(unfinished, "it never got a stream")
		return
	case len(r.due) > 0:
		if rest := between(r.due, r.at, r.due[len(r.due)-1]); len(rest) > 0 {
			r.bad(unfinished, "%s never came", r.show(rest))
		}
	}
	r.untold(heard)
}

// twin tells whether an item shows that two masters took the same event in the
// same millisecond: number and millisecond do not tell which of the two the
// client has had, so its story cannot be judged from there on.
func (r *reader) twin(it item) bool {
	if !r.begun || !r.forksAt(it.when) {
		return false
	}
	other := func(p position) bool { return r.exact && p.ms == r.last.ms && p != r.last }
	switch it.what {
	case opened:
		return other(it.to)
	case gap:
		return other(it.from)
	default:
		first, twice := r.sawAt[it.n]
		return twice && first.ms == it.ms
	}
}

// arranged puts the gaps of polls, which come apart from the events, where
// they belong: before the first event behind their end.
func (r *reader) arranged() []item {
	var out []item
	for i := 0; i < len(r.story.items); {
		first := r.story.items[i]
		begin := len(out)
		out = append(out, first)
		for i++; first.answer > 0 && i < len(r.story.items) && r.story.items[i].answer == first.answer; i++ {
			it, at := r.story.items[i], len(out)
			for it.what == gap && at > begin && out[at-1].what == event {
				before, _ := r.find(out[at-1].n, out[at-1].ms)
				if !it.to.less(before) {
					break
				}
				at--
			}
			out = slices.Insert(out, at, it)
		}
	}
	return out
}

func (r *reader) opened(it item) {
	if !r.begun {
		r.begun, r.start, r.at, r.last, r.exact = true, it.to, it.to, it.to, true
		return
	}
	if r.exact && it.to != r.last {
		r.bad(resumedWrong, "the stream began after %v, the client was at %v", it.to, r.last)
	}
}

func (r *reader) event(it item) {
	at, known := r.find(it.n, it.ms)
	if !known && !r.losesBetween(time.Time{}, time.Time{}) {
		r.bad(invented, "event %d of %d is neither in the stream nor acknowledged", it.n, it.ms)
		return
	}
	// The same number at another position was published again, or is twice in
	// the stream, which is not this client's fault.
	if first, twice := r.sawAt[it.n]; twice && (first.ms == it.ms || !contains(r.kept, at) && !r.losesBetween(first.when, it.when)) {
		r.bad(duplicate, "event %d came at %s already", it.n, first.when.Format("05.000"))
		return
	}
	r.sawAt[it.n] = it
	r.saw[at] = true
	if known && r.exact && !r.last.less(at) || at.ms < r.last.ms {
		r.bad(disorder, "event %d at %v came behind %v", it.n, at, r.last)
		return
	}
	if known && contains(r.due, at) {
		if skipped := between(r.due, r.at, at); len(skipped) > 1 {
			r.bad(missing, "%s between %v and event %d", r.show(skipped[:len(skipped)-1]), r.at, it.n)
		}
		r.at = at
	}
	r.last, r.exact, r.blurred, r.previous = at, known, !known, nil
}

func (r *reader) gap(it item) {
	if p := r.previous; p != nil && p.conn == it.conn && !r.losesBetween(p.when.Add(-lossSettles), it.when) {
		r.bad(gapTwice, "a second gap after (%v, %v]", p.from, p.to)
	}
	r.gaps = append(r.gaps, it)
	if it.reason == "lost" {
		r.lossGap(it)
	} else {
		r.trimGap(it)
	}
	// Behind a loss a client may stand where the stream goes on from, which is
	// not where its gap ends.
	r.last, r.exact, r.blurred, r.previous = it.to, it.reason != "lost", false, &it
	r.at = later(r.at, it.to)
}

// lossGap judges a gap that says that Redis lost something. It may end before
// it begins: then the stream goes on from there.
func (r *reader) lossGap(it item) {
	if !r.losesBetween(time.Time{}, it.when) {
		r.bad(gapUnfounded, "the gap (%v, %v] says lost, but nothing was played that loses data", it.from, it.to)
	}
	if it.to.less(it.from) {
		return
	}
	// What the client would have to go back for it cannot be given: the master that
	// it had heard was another one than the one that stayed. And while two of them
	// live, a replica that hears the wrong one knows no better.
	if still := between(r.kept, later(later(r.at, it.from), r.reached()), it.to); len(still) > 0 && !r.forksAt(it.when) {
		r.bad(gapTooWide, "the gap (%v, %v] covers %s, which the stream has", it.from, it.to, r.show(still))
	}
	// A client that stands on what Redis lost, and comes to a replica that knows
	// nothing of that, can be told no better: nobody knows where the two masters
	// parted.
	if skipped := between(r.due, r.at, it.from); len(skipped) > 0 && (contains(r.due, r.last) || !r.standsAt(it.from)) {
		r.bad(missing, "%s between %v and a gap that begins after %v", r.show(skipped), r.at, it.from)
	}
}

// standsAt tells whether the last thing has this position, as far as it is known.
func (r *reader) standsAt(p position) bool {
	return p == r.last || r.blurred && p.ms == r.last.ms
}

// reached is the last thing's position or, where it is not known, the last that
// it can have.
func (r *reader) reached() position {
	if r.blurred {
		return position{ms: r.last.ms, seq: math.MaxUint64}
	}
	return r.last
}

func (r *reader) trimGap(it item) {
	// After a loss that nobody knows of, what is left looks trimmed.
	lossy := r.losesBetween(time.Time{}, it.when)
	// The record of a loss that the client knows of is crossed without a word,
	// and the gap then begins there.
	crossed := lossy && r.last.less(it.from) && len(between(r.due, r.last, it.from)) == 0
	if r.exact && it.from != r.last && !crossed || it.to.less(it.from) {
		r.bad(gapInexact, "the gap (%v, %v] comes where the client is at %v", it.from, it.to, r.last)
	}
	// Where Redis loses what had trimmed them, events are there again.
	again := r.losesBetween(it.when.Add(-lossSettles), it.when.Add(lossSettles))
	if still := between(r.kept, r.at, it.to); len(still) > 0 && !again {
		r.bad(gapTooWide, "the gap (%v, %v] covers %s, which the stream has", it.from, it.to, r.show(still))
	}
	// What Redis lost later may have been trimmed before.
	due, lost := between(r.due, r.at, it.to), between(r.lost, r.at, it.to)
	switch {
	case lossy:
	case len(due)+len(lost) == 0:
		r.bad(gapNeedless, "nothing is missing in the gap (%v, %v]", it.from, it.to)
	case !contains(due, it.to) && !contains(lost, it.to):
		r.bad(gapInexact, "the gap (%v, %v] ends where no event was", it.from, it.to)
	}
}

// untold looks for events that Redis lost, that others saw, and that this
// client was not told of. What nobody saw nobody can tell of.
func (r *reader) untold(heard map[position]bool) {
	told := func(at position) bool {
		return slices.ContainsFunc(r.gaps, func(g item) bool {
			return g.from.less(at) && !g.to.less(at) || g.to.less(g.from) && g.to.less(at)
		})
	}
	var untold, inexact []position
	for _, at := range r.lost {
		switch {
		case !heard[at] || !r.start.less(at) || r.saw[at] || told(at) || r.diedWith(at) || r.elsewhere(at):
		case r.warned(at):
			inexact = append(inexact, at)
		default:
			untold = append(untold, at)
		}
	}
	if len(untold) > 0 {
		r.index = min(r.behind(untold[0])+shownItems/2, len(r.items)-1)
		r.bad(lossUntold, "Redis lost %s, which others had seen", r.show(untold))
	}
	if len(inexact) > 0 {
		r.index = min(r.behind(inexact[0])+shownItems/2, len(r.items)-1)
		r.bad(lossInexact, "Redis lost %s, which others had seen, and the gap in that place does not cover them", r.show(inexact))
	}
}

// diedWith tells whether a replica ended after an event and before Redis was
// back: if it was the one that had delivered it, nobody was left who could
// record the loss.
func (r *reader) diedWith(at position) bool {
	heard := time.UnixMilli(int64(at.ms))
	until := heard.Add(lossSettles)
	for _, f := range r.faults {
		if f.loses && f.begin.Before(until) && f.end.After(heard) && f.end.After(until) {
			until = f.end
		}
	}
	return slices.ContainsFunc(r.faults, func(f played) bool {
		// One that is terminated drains first.
		ends := f.name == replicaKilled && f.begin.After(heard) || f.name == replicaTerminated && f.end.After(heard)
		return ends && f.begin.Before(until)
	})
}

// elsewhere tells whether the client had already heard later events, of another
// master than the one that stayed, and was told of a gap behind these.
func (r *reader) elsewhere(at position) bool {
	i := r.behind(at)
	if i < 0 {
		return false
	}
	if p, known := r.find(r.items[i].n, r.items[i].ms); known && contains(r.kept, p) {
		return false
	}
	for _, it := range r.items[i+1:] {
		if it.what != opened {
			return it.what == gap
		}
	}
	return false
}

// warned tells whether the client got a gap for a loss in the place where the
// event at a position is missing.
func (r *reader) warned(at position) bool {
	for i := r.behind(at); i >= 0 && i < len(r.items); i-- {
		switch {
		case r.items[i].what == gap && r.items[i].reason == "lost":
			return true
		case r.items[i].what == event && r.items[i].ms < at.ms:
			return false
		}
	}
	return false
}

// behind is the first event behind a position, or the end.
func (r *reader) behind(at position) int {
	i := slices.IndexFunc(r.items, func(i item) bool { return i.what == event && i.ms > at.ms })
	if i < 0 {
		i = len(r.items) - 1
	}
	return i
}

func (r *reader) show(of []position) string {
	return fmt.Sprintf("%d events (%v to %v)", len(of), of[0], of[len(of)-1])
}
