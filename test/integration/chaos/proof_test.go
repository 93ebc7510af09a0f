package chaos

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func at(ms uint64) position { return position{ms: ms} }

// streamed is a stream of these events, event n at position n unless lost
// events are between.
func streamed(ms ...uint64) []entry {
	var out []entry
	prev := at(0)
	for _, m := range ms {
		out = append(out, entry{at: at(m), prev: prev, n: int(m)})
		prev = at(m)
	}
	return out
}

func acked(numbers ...uint64) []ack {
	var out []ack
	for _, n := range numbers {
		out = append(out, ack{n: int(n), at: at(n), when: noon})
	}
	return out
}

// told builds a story, one thing a second.
func told(items ...item) *story {
	s := &story{client: "c", channel: "ch"}
	for i, it := range items {
		it.when = noon.Add(time.Duration(i) * time.Second)
		s.items = append(s.items, it)
	}
	return s
}

func starts(ms uint64) item { return item{what: opened, to: at(ms)} }
func sees(ms uint64) item   { return item{what: event, n: int(ms), ms: ms} }
func gapped(reason string, from, to uint64) item {
	return item{what: gap, reason: reason, from: at(from), to: at(to)}
}
func (i item) on(conn, answer int) item { i.conn, i.answer = conn, answer; return i }

var flush = []played{{name: "flush", loses: true, begin: noon.Add(time.Second), end: noon.Add(time.Second)}}

func TestProve(t *testing.T) {
	whole := &truth{stream: streamed(1, 2, 3, 4), acks: acked(1, 2, 3, 4)}
	short := &truth{stream: streamed(1, 2, 3, 4)[2:], acks: acked(1, 2, 3, 4), trimmed: true}
	// 3 and 4 were lost, 5 came after.
	failedOver := &truth{stream: streamed(1, 2, 5), acks: acked(1, 2, 3, 4, 5)}
	witness := told(starts(0), sees(1), sees(2), sees(3), sees(4), gapped("lost", 4, 4), sees(5))
	for _, test := range []struct {
		name    string
		truth   *truth
		faults  []played
		stories []*story
		want    []kindOfViolation
	}{
		{"all", whole, nil, []*story{told(starts(0), sees(1), sees(2), sees(3), sees(4))}, nil},
		{"from the middle", whole, nil, []*story{told(starts(2), sees(3), sees(4))}, nil},
		{"from the end", whole, nil, []*story{told(starts(4))}, nil},
		{"over connections", whole, nil, []*story{told(starts(0), sees(1), starts(1), sees(2), sees(3).on(2, 1), sees(4).on(2, 2))}, nil},
		{"nothing at all", whole, nil, []*story{told()}, []kindOfViolation{unfinished}},
		{"one missing", whole, nil, []*story{told(starts(0), sees(1), sees(3), sees(4))}, []kindOfViolation{missing}},
		{"first missing", whole, nil, []*story{told(starts(0), sees(2), sees(3), sees(4))}, []kindOfViolation{missing}},
		{"end missing", whole, nil, []*story{told(starts(0), sees(1), sees(2))}, []kindOfViolation{unfinished}},
		{"twice", whole, nil, []*story{told(starts(0), sees(1), sees(2), sees(2), sees(3), sees(4))}, []kindOfViolation{duplicate}},
		{"again later", whole, nil, []*story{told(starts(0), sees(1), sees(2), sees(3), sees(1), sees(4))}, []kindOfViolation{duplicate}},
		{"swapped", whole, nil, []*story{told(starts(0), sees(1), sees(3), sees(2), sees(4))}, []kindOfViolation{missing, disorder}},
		{"before its start", whole, nil, []*story{told(starts(2), sees(1), sees(3), sees(4))}, []kindOfViolation{disorder}},
		{"never published", whole, nil, []*story{told(starts(0), sees(1), sees(2), sees(3), sees(4), sees(9))}, []kindOfViolation{invented}},
		{"resumed too late", whole, nil, []*story{told(starts(0), sees(1), starts(2), sees(3), sees(4))}, []kindOfViolation{resumedWrong, missing}},

		{"gap", short, nil, []*story{told(starts(0), gapped("trimmed", 0, 2), sees(3), sees(4))}, nil},
		{"gap behind an event", short, nil, []*story{told(starts(0), sees(1), gapped("trimmed", 1, 2), sees(3), sees(4))}, nil},
		{"gap of a poll", short, nil, []*story{told(starts(0), sees(1), starts(1), sees(3).on(2, 1), sees(4).on(2, 1), gapped("trimmed", 1, 2).on(2, 1))}, nil},
		{"no gap", short, nil, []*story{told(starts(0), sees(3), sees(4))}, []kindOfViolation{missing}},
		{"gap too short", short, nil, []*story{told(starts(0), gapped("trimmed", 0, 1), sees(3), sees(4))}, []kindOfViolation{missing}},
		{"gap too long", short, nil, []*story{told(starts(0), gapped("trimmed", 0, 3), sees(4))}, []kindOfViolation{gapTooWide}},
		{"gap too long, where what trimmed it was lost", short, flush, []*story{told(starts(0), gapped("trimmed", 0, 3), sees(4))}, nil},
		{"gap that begins too early", short, nil, []*story{told(starts(0), sees(1), gapped("trimmed", 0, 2), sees(3), sees(4))}, []kindOfViolation{gapInexact}},
		{"gap that ends nowhere", &truth{stream: streamed(1, 2, 5)[2:], acks: acked(1, 2, 5), trimmed: true}, nil,
			[]*story{told(starts(0), gapped("trimmed", 0, 4), sees(5))}, []kindOfViolation{gapInexact}},
		{"gap without need", whole, nil, []*story{told(starts(0), sees(1), gapped("trimmed", 1, 1), sees(2), sees(3), sees(4))}, []kindOfViolation{gapNeedless}},
		{"two gaps", short, nil, []*story{told(starts(0), gapped("trimmed", 0, 1), gapped("trimmed", 1, 2), sees(3), sees(4))}, []kindOfViolation{gapTwice}},
		{"two gaps of two connections", short, nil, []*story{told(starts(0), gapped("trimmed", 0, 1), starts(1).on(2, 0), gapped("trimmed", 1, 2).on(2, 0), sees(3), sees(4))}, nil},
		{"lost without a fault", short, nil, []*story{told(starts(0), gapped("lost", 0, 2), sees(3), sees(4))}, []kindOfViolation{gapUnfounded}},

		{"lost what it had", failedOver, flush, []*story{witness}, nil},
		{"lost while away", failedOver, flush, []*story{witness, told(starts(0), sees(1), sees(2), gapped("lost", 2, 4), sees(5))}, nil},
		{"lost in part", failedOver, flush, []*story{witness, told(starts(0), sees(1), sees(2), sees(3), gapped("lost", 3, 4), sees(5))}, nil},
		{"lost and told back", failedOver, flush, []*story{witness, told(starts(0), sees(1), sees(2), sees(3), gapped("lost", 3, 2), sees(5))}, nil},
		{"lost and told later", failedOver, flush, []*story{witness, told(starts(0), sees(1), sees(2), sees(5), gapped("lost", 2, 5))}, nil},
		{"lost before it began", failedOver, flush, []*story{witness, told(starts(5))}, nil},
		{"lost, not told", failedOver, flush, []*story{witness, told(starts(0), sees(1), sees(2), sees(5))}, []kindOfViolation{lossUntold}},
		{"lost, and who knew of it was killed", failedOver, append(flush, played{name: replicaKilled, begin: time.UnixMilli(1000)}),
			[]*story{witness, told(starts(0), sees(1), sees(2), sees(5))}, nil},
		{"lost, and who knew of it was terminated", failedOver, append(flush, played{name: replicaTerminated, end: time.UnixMilli(1000)}),
			[]*story{witness, told(starts(0), sees(1), sees(2), sees(5))}, nil},
		{"lost, and somebody had left before", failedOver, append(flush, played{name: replicaTerminated, end: time.UnixMilli(2)}),
			[]*story{witness, told(starts(0), sees(1), sees(2), sees(5))}, []kindOfViolation{lossUntold}},
		{"lost, told too little", failedOver, flush, []*story{witness, told(starts(0), sees(1), sees(2), gapped("lost", 2, 2), sees(5))}, []kindOfViolation{lossInexact}},
		{"lost, seen by nobody", failedOver, flush, []*story{told(starts(0), sees(1), sees(2), sees(5))}, nil},
		{"lost without a fault that loses", failedOver, nil, []*story{told(starts(0), sees(1), sees(2), sees(5))}, []kindOfViolation{acknowledgedGone, acknowledgedGone}},
		{"lost and more", failedOver, flush, []*story{told(starts(0), sees(1), gapped("lost", 1, 4), sees(5))}, []kindOfViolation{gapTooWide}},
		{"lost and more, while there were two masters", failedOver, []played{{loses: true, forks: true, begin: flush[0].begin, end: flush[0].end}},
			[]*story{told(starts(0), sees(1), gapped("lost", 1, 4), sees(5))}, nil},
		{"of two masters, which took an event in one millisecond, the other's", failedOver, []played{{loses: true, forks: true, begin: flush[0].begin, end: flush[0].end}},
			[]*story{told(starts(0), sees(1), sees(2), item{what: opened, to: position{2, 7}}, sees(5))}, nil},
		{"published again", &truth{stream: []entry{{at: at(1), n: 1}, {at: at(7), prev: at(1), n: 2}}, acks: []ack{{n: 1, at: at(1)}, {n: 2, at: at(7)}}}, flush,
			[]*story{told(starts(0), sees(1), sees(2), item{what: event, n: 2, ms: 7})}, nil},

		{"broken chain", &truth{stream: []entry{{at: at(1), n: 1}, {at: at(3), prev: at(2), n: 3}}}, nil, nil, []kindOfViolation{chainBroken}},
		{"recorded twice", &truth{stream: []entry{{at: at(1), n: 1}, {at: at(2), prev: at(1), n: 1}}}, nil, nil, []kindOfViolation{recordedTwice}},
		{"recorded late", &truth{stream: []entry{{at: at(1), n: 2}, {at: at(2), prev: at(1), n: 1}}, acks: []ack{{n: 2, at: at(1)}, {n: 1, at: at(2)}}}, nil, nil, []kindOfViolation{recordedLate}},
		{"acknowledged and gone", &truth{stream: streamed(1), acks: acked(1, 2)}, nil, nil, []kindOfViolation{acknowledgedGone}},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := prove(test.truth, test.stories, test.faults)
			var got []kindOfViolation
			for _, v := range found {
				got = append(got, v.kind)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("found %v, want %v: %v", got, test.want, found)
			}
		})
	}
}

// The same seed gives the same faults, and another one gives others.
func TestPlanFollowsFromTheSeed(t *testing.T) {
	faults := append(replicaFaults(nil), linkFaults(nil)...)
	drawn := func(seed uint64) string {
		c := Config{Seed: seed, Pause: time.Second, Clients: 5}
		r := newRound(c, &world{faults: faults}, 3, time.Minute)
		return fmt.Sprint(r.plan, r.clients[4].channels)
	}
	if a, b := drawn(7), drawn(7); a != b {
		t.Errorf("one seed, two plans:\n%s\n%s", a, b)
	}
	if drawn(7) == drawn(8) {
		t.Error("two seeds, one plan")
	}
}
