package redisbus

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

var (
	tick  = content{"a", "tick"}
	tock  = content{"a", "tock"}
	begin = time.Unix(1_700_000_000, 0)
)

func waitingFor(c content, id string) *plain { return &plain{content: c, payload: id, due: begin} }

// names are the payloads that wait, in order.
func (o *occurrences) names() []string {
	var list []string
	for _, p := range o.waiting {
		list = append(list, p.payload)
	}
	return list
}

func TestOccurrences(t *testing.T) {
	one, two, three, other := waitingFor(tick, "1"), waitingFor(tick, "2"), waitingFor(tick, "3"), waitingFor(tock, "other")
	for _, tt := range []struct {
		name string
		do   func(*occurrences)
		want []string
		last channels.Position
	}{
		{"heard", func(o *occurrences) { o.heard(one, begin); o.heard(other, begin) }, []string{"1", "other"}, channels.Position{}},
		{"a record is of the oldest of its content", func(o *occurrences) {
			o.heard(other, begin)
			o.heard(one, begin)
			o.heard(two, begin)
			o.recorded(tick, pos(5, 0), begin)
		}, []string{"other", "2"}, pos(5, 0)},
		{"a record before anything was heard is of nothing", func(o *occurrences) {
			o.recorded(tick, pos(5, 0), begin)
			o.heard(one, begin)
		}, []string{"1"}, pos(5, 0)},
		{"settled is that one, not the oldest", func(o *occurrences) {
			o.heard(one, begin)
			o.heard(two, begin)
			o.settle(two, pos(5, 0), begin)
		}, []string{"1"}, pos(5, 0)},
		{"settled without a record", func(o *occurrences) {
			o.recorded(tick, pos(5, 0), begin)
			o.heard(one, begin)
			o.settle(one, channels.Position{}, begin)
		}, nil, pos(5, 0)},
		{"settled after another's record took its place", func(o *occurrences) {
			o.heard(one, begin)
			o.heard(two, begin)
			o.recorded(tick, pos(5, 0), begin)
			o.settle(one, pos(6, 0), begin)
		}, []string{"2"}, pos(6, 0)},
		{"more records than payloads", func(o *occurrences) {
			o.heard(one, begin)
			o.recorded(tick, pos(5, 0), begin)
			o.recorded(tick, pos(6, 0), begin)
			o.heard(two, begin)
			o.heard(three, begin)
			o.recorded(tick, pos(7, 0), begin)
		}, []string{"3"}, pos(7, 0)},
		{"a record that was met in the stream already", func(o *occurrences) {
			o.heard(one, begin)
			o.heard(two, begin)
			o.recorded(tick, pos(5, 9), begin)
			o.recorded(tick, pos(5, 9), begin)
			o.recorded(tick, pos(5, 10), begin)
			o.recorded(tick, pos(5, 9), begin)
			o.heard(three, begin)
		}, []string{"3"}, pos(5, 10)},
		{"found in the stream, and heard of later", func(o *occurrences) {
			o.heard(one, begin)
			o.heard(two, begin)
			o.found(tick, pos(5, 0), begin)
			o.recorded(tick, pos(5, 0), begin)
		}, []string{"2"}, pos(5, 0)},
		{"found in the stream before its payload was heard", func(o *occurrences) {
			o.heard(one, begin)
			o.found(tick, pos(5, 0), begin)
			o.found(tick, pos(6, 0), begin)
			o.heard(two, begin)
			o.recorded(tick, pos(5, 0), begin)
			o.recorded(tick, pos(6, 0), begin)
			o.heard(three, begin)
		}, []string{"3"}, pos(6, 0)},
		{"found in the stream from before the payload came", func(o *occurrences) {
			late := waitingFor(tick, "late")
			late.since = pos(5, 1)
			o.heard(late, begin)
			o.found(tick, pos(5, 0), begin)
		}, []string{"late"}, pos(5, 0)},
		{"earlier records move nothing back", func(o *occurrences) {
			o.heard(one, begin)
			o.recorded(tick, pos(6, 0), begin)
			o.earlier(tick, pos(5, 0), begin)
		}, nil, pos(6, 0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOccurrences()
			left := 0
			o.done = func(*plain) { left++ }
			tt.do(o)
			if got := o.names(); !slices.Equal(got, tt.want) {
				t.Errorf("waiting are %q, want %q", got, tt.want)
			}
			if got := o.of(tick, begin).last; got != tt.last {
				t.Errorf("newest is %v, want %v", got, tt.last)
			}
			n := 0
			for _, c := range o.counts {
				n += c.waiting
			}
			if n != len(o.waiting) {
				t.Errorf("%d are counted, %d wait", n, len(o.waiting))
			}
		})
	}
}

// In a Cluster a record can overtake its payload, but not by much.
func TestEarlyRecords(t *testing.T) {
	o := newOccurrences()
	o.early = 100 * time.Millisecond
	done := 0
	o.done = func(*plain) { done++ }
	o.recorded(tick, pos(5, 0), begin)
	o.recorded(tick, pos(6, 0), begin.Add(90*time.Millisecond))
	o.heard(waitingFor(tock, "other"), begin)
	o.heard(waitingFor(tick, "1"), begin.Add(150*time.Millisecond))
	o.heard(waitingFor(tick, "2"), begin.Add(150*time.Millisecond))
	if got := o.names(); !slices.Equal(got, []string{"other", "2"}) || done != 1 {
		t.Errorf("waiting are %q, done %d; want the second to wait: the first record is too old to be of it", got, done)
	}
}

func TestDue(t *testing.T) {
	o := newOccurrences()
	if _, ok := o.next(); ok {
		t.Error("something is due")
	}
	for i, after := range []int{3, 1, 2, 1} {
		p := waitingFor(content{fmt.Sprint("channel", i), "x"}, fmt.Sprint(i))
		p.due = begin.Add(time.Duration(after) * time.Second)
		o.heard(p, begin)
	}
	if at, ok := o.next(); !ok || !at.Equal(begin.Add(time.Second)) {
		t.Errorf("next is at %v", at)
	}
	for _, tt := range []struct{ seconds, limit, want int }{{0, 9, 0}, {1, 9, 2}, {1, 1, 1}, {2, 9, 3}, {3, 9, 4}, {3, 0, 0}} {
		if got := o.due(begin.Add(time.Duration(tt.seconds)*time.Second), tt.limit); len(got) != tt.want {
			t.Errorf("after %d s %d are due, want %d", tt.seconds, len(got), tt.want)
		}
	}
}

// Who becomes first recorder still waits for what it heard as second.
func TestNoneOvertakesAnotherOfItsChannel(t *testing.T) {
	o := newOccurrences()
	for i, after := range []int{1, 0, 2} {
		p := waitingFor(content{"a", fmt.Sprint(i)}, fmt.Sprint(i))
		p.due = begin.Add(time.Duration(after) * time.Second)
		o.heard(p, begin)
	}
	if got := o.due(begin, 9); len(got) != 0 {
		t.Errorf("%d are due before the first", len(got))
	}
	if at, ok := o.next(); !ok || !at.Equal(begin.Add(time.Second)) {
		t.Errorf("next is at %v", at)
	}
	if got := o.due(begin.Add(time.Second), 9); len(got) != 2 {
		t.Errorf("%d are due with the first, want 2", len(got))
	}
}

func TestForget(t *testing.T) {
	o := newOccurrences()
	o.recorded(tick, pos(5, 0), begin)
	o.recorded(tock, pos(5, 0), begin.Add(time.Minute))
	o.heard(waitingFor(content{"a", "waits"}, "x"), begin)
	o.forget(begin.Add(time.Second))
	if len(o.counts) != 2 || o.counts[tick] != nil {
		t.Errorf("left are %v", o.counts)
	}
}
