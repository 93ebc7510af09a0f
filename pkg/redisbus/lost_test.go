package redisbus

import (
	"strings"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

// lost records a loss, and returns the record as the stream keeps it.
func (s *scripts) lost(channel string, l channels.Loss) channels.Event {
	s.t.Helper()
	text, _ := s.mustRun(fnLost, "gw:"+channel, l.Upto.String(), l.After.String()).(string)
	for _, e := range s.stream(channel) {
		if e.Position.String() == text {
			return e
		}
	}
	s.t.Fatalf("the record at %q is not in the stream", text)
	return channels.Event{}
}

func TestLossIsRecordedOnceBehindAllThatWasLost(t *testing.T) {
	t.Parallel()
	s := newScripts(t)
	heard := s.hear("gw:orders")
	one := s.publish("orders", "1")
	<-heard
	l := channels.Loss{After: one, Upto: channels.Position{Millis: one.Millis + 60_000, Seq: 7}}
	mark := s.lost("orders", l)
	if mark.Lost == nil || *mark.Lost != l || mark.Prev != one || !l.Upto.Less(mark.Position) || mark.Foreign {
		t.Errorf("recorded is %+v (%+v), want %+v behind %v", mark, mark.Lost, l, one)
	}
	e, err := parseAnnouncement((<-heard).Payload)
	if err != nil || e.Position != mark.Position || e.Prev != one || *e.Lost != l {
		t.Errorf("announced is %+v, %v", e, err)
	}
	// Another replica that knows the same, or less.
	for _, upto := range []uint64{7, 3} {
		again := channels.Loss{After: one, Upto: channels.Position{Millis: l.Upto.Millis, Seq: upto}}
		if got := s.lost("orders", again); got.Position != mark.Position {
			t.Errorf("the same loss is recorded again, at %v", got.Position)
		}
	}
	two := s.publish("orders", "2")
	if all := s.stream("orders"); len(all) != 3 || all[2].Position != two || all[2].Prev != mark.Position || !mark.Position.Less(two) {
		t.Errorf("the stream is %+v", all)
	}
	// One that knows more.
	more := s.lost("orders", channels.Loss{After: one, Upto: channels.Position{Millis: l.Upto.Millis + 1}})
	if more.Prev != two {
		t.Errorf("a larger loss is recorded behind %v, want %v", more.Prev, two)
	}
}

func TestLossOfAWholeStreamIsRecorded(t *testing.T) {
	t.Parallel()
	s := newScripts(t)
	upto := channels.Position{Millis: uint64(time.Now().UnixMilli()), Seq: 3}
	mark := s.lost("orders", channels.Loss{Upto: upto})
	if !mark.Prev.IsZero() || !upto.Less(mark.Position) {
		t.Errorf("recorded is %+v", mark)
	}
	s.wantLife("orders", 24*time.Hour)
}

// What is younger than the replica's knowledge of the channel may have followed
// the loss.
func TestLossIsRecordedFromBeforeWhatIsYounger(t *testing.T) {
	t.Parallel()
	s := newScripts(t)
	begin := time.Now()
	s.mini.SetTime(begin)
	old := s.publish("orders", "1")
	s.mini.SetTime(begin.Add(time.Minute))
	s.publish("orders", "2")
	top := s.publish("orders", "3")
	upto := channels.Position{Millis: top.Millis + 3_600_000}.String()
	var at any
	// Each replica knows the channel since another time.
	for _, younger := range []string{"30000", "40000", "0", "20000"} {
		text := s.mustRun(fnLost, "gw:orders", upto, top.String(), younger)
		if at == nil {
			at = text
		}
		if text != at {
			t.Errorf("by who knows it for %s ms it is recorded again, at %v", younger, text)
		}
	}
	record := s.stream("orders")[3]
	if record.Position.String() != at || record.Lost.After != old {
		t.Errorf("recorded is %+v, want it from %v", record.Lost, old)
	}
}

func TestWhatIsNoLossIsNotRecorded(t *testing.T) {
	t.Parallel()
	s := newScripts(t)
	one := s.publish("orders", "1")
	two := s.publish("orders", "2")
	for _, key := range []string{"gw:orders", "gw:status:a"} { // the second has no history
		if got := s.mustRun(fnLost, key, two.String(), one.String()); got != "" {
			t.Errorf("of %s a loss is recorded at %v", key, got)
		}
	}
	for _, wrong := range [][2]string{{"", ""}, {"1-1", "x"}, {"99999999999999-0", "0-0"}} {
		if _, err := s.run(fnLost, []string{"gw:orders"}, wrong[0], wrong[1]); err == nil || !strings.Contains(err.Error(), "ERR gateway: ") {
			t.Errorf("%q is refused with %v", wrong, err)
		}
	}
	if all := s.stream("orders"); len(all) != 2 {
		t.Errorf("the stream is %+v", all)
	}
}
