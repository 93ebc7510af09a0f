package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// truth is what really happened on one channel.
type truth struct {
	channel string
	// stream is what Redis holds in the end.
	stream []entry
	// acks are the publishes that Redis confirmed. A plain PUBLISH has none: it
	// is confirmed by nobody that it is in the stream.
	acks []ack
	// trimmed: the channel keeps few events, so the stream does not hold all.
	trimmed bool
}

// entry is one entry of a stream.
type entry struct {
	at, prev position
	n        int  // the event's number
	marker   bool // no event, but the record of a loss
	recorder string
}

type ack struct {
	n    int
	at   position
	when time.Time
}

// readStream reads a channel's whole stream.
func readStream(ctx context.Context, db redis.UniversalClient, channel string) ([]entry, error) {
	messages, err := db.XRange(ctx, "gw:"+channel, "-", "+").Result()
	if err != nil {
		return nil, fmt.Errorf("read the stream of %s: %w", channel, err)
	}
	entries := make([]entry, 0, len(messages))
	for _, m := range messages {
		var e entry
		var err1, err2 error
		e.at, err1 = parsePosition(m.ID)
		prev, _ := m.Values["p"].(string)
		e.prev, err2 = parsePosition(prev)
		payload, isEvent := m.Values["d"].(string)
		e.recorder, _ = m.Values["r"].(string)
		e.marker = !isEvent
		if isEvent {
			e.n = number(payload)
		}
		if err1 != nil || err2 != nil || isEvent && e.n == 0 {
			return nil, fmt.Errorf("%s has the entry %s %v", channel, m.ID, m.Values)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// played is a fault that was played.
type played struct {
	name       string
	begin, end time.Time
	loses      bool // Redis may lose what it has acknowledged
	forks      bool // and two masters may take events at once
}

func (p played) String() string {
	return fmt.Sprintf("%s to %s: %s", p.begin.Format("05.000"), p.end.Format("05.000"), p.name)
}

// lossSettles is how long after a losing fault's end an event can still go the
// way of the old master, which some clients of Redis take for the master.
const lossSettles = 2 * time.Second

// timeline is a channel's truth in the form that prove asks it.
type timeline struct {
	stream []entry
	faults []played
	// kept are the events of the stream, due those and the trimmed ones, lost
	// those that were acknowledged or delivered and are gone without a reason
	// but the loss. All in order.
	kept, due, lost []position
	byNumber        map[int][]position // of due and lost
}

func (t *truth) timeline(faults []played) (timeline, []violation) {
	l := timeline{stream: t.stream, faults: faults, byNumber: map[int][]position{}}
	var wrong []violation
	bad := func(k kindOfViolation, format string, args ...any) {
		wrong = append(wrong, violation{kind: k, channel: t.channel, what: fmt.Sprintf(format, args...)})
	}
	numbers := map[int]entry{}
	highest := 0
	for i, e := range t.stream {
		if i > 0 && e.prev != t.stream[i-1].at {
			bad(chainBroken, "entry %v names %v as its predecessor, but that is %v", e.at, e.prev, t.stream[i-1].at)
		}
		if e.marker {
			continue
		}
		if first, twice := numbers[e.n]; twice {
			bad(recordedTwice, "number %d is in the stream at %v and %v, by %q and %q", e.n, first.at, e.at, first.recorder, e.recorder)
		}
		// Who publishes by PUBLISH is recorded in the order of the recorders. And
		// an attempt that had been given up may still arrive: where Redis has lost
		// what it knew of the event's id meanwhile, as a new event.
		if e.n < highest && len(t.acks) > 0 && !t.arrivedAgain(e, &l) {
			bad(recordedLate, "number %d is in the stream behind %d", e.n, highest)
		}
		highest = max(highest, e.n)
		numbers[e.n] = e
		l.kept = append(l.kept, e.at)
		l.due = append(l.due, e.at)
		l.byNumber[e.n] = append(l.byNumber[e.n], e.at)
	}
	for _, a := range t.acks {
		if numbers[a.n].at == a.at {
			continue
		}
		switch {
		case l.losesBetween(a.when, time.Time{}):
			l.lost = append(l.lost, a.at)
		case t.trimmed && len(t.stream) > 0 && a.at.less(t.stream[0].at):
			l.due = append(l.due, a.at)
		default:
			bad(acknowledgedGone, "number %d was acknowledged at %v and is not in the stream", a.n, a.at)
			continue
		}
		l.byNumber[a.n] = append(l.byNumber[a.n], a.at)
	}
	slices.SortFunc(l.due, position.compare)
	slices.SortFunc(l.lost, position.compare)
	return l, wrong
}

// arrivedAgain tells whether an entry was acknowledged at an earlier position,
// which Redis has lost since.
func (t *truth) arrivedAgain(e entry, l *timeline) bool {
	return slices.ContainsFunc(t.acks, func(a ack) bool {
		return a.n == e.n && a.at.less(e.at) && l.losesBetween(a.when, time.UnixMilli(int64(e.at.ms)))
	})
}

// forksAt tells whether two masters may have taken events shortly before a time.
func (l *timeline) forksAt(at time.Time) bool {
	return slices.ContainsFunc(l.faults, func(f played) bool {
		return f.forks && !f.end.Add(lossSettles).Before(at) && !f.begin.After(at)
	})
}

// losesBetween tells whether Redis may have lost something between two times;
// without the second one: ever since.
func (l *timeline) losesBetween(from, to time.Time) bool {
	return slices.ContainsFunc(l.faults, func(f played) bool {
		return f.loses && !f.end.Add(lossSettles).Before(from) && (to.IsZero() || !f.begin.After(to))
	})
}

// find returns the position of an event that a client saw. It is unknown if
// the event is neither in the stream nor acknowledged.
func (l *timeline) find(n int, ms uint64) (at position, known bool) {
	for _, at := range l.byNumber[n] {
		if at.ms == ms {
			return at, true
		}
	}
	return position{ms: ms}, false
}

// between returns what of sorted is behind from and not behind to.
func between(sorted []position, from, to position) []position {
	begin, found := slices.BinarySearchFunc(sorted, from, position.compare)
	if found {
		begin++
	}
	end, found := slices.BinarySearchFunc(sorted, to, position.compare)
	if found {
		end++
	}
	return sorted[begin:max(begin, end)]
}

func contains(sorted []position, p position) bool {
	_, found := slices.BinarySearchFunc(sorted, p, position.compare)
	return found
}
