package redisbus

import (
	"fmt"
	"slices"
	"testing"
)

// sharded returns subscriptions of which the names are asked for.
func shardedOf(names ...topicName) *subscriptions {
	s := newSubscriptions(true, keys{"gw"}.own)
	s.set(true, names)
	s.differences()
	return s
}

func TestSubscriptionsKnowUnaskedEnds(t *testing.T) {
	a, b := name("gw:{x}a"), name("gw:{x}b")
	s := shardedOf(a, b)
	if got := s.answered(a, true); got != nowHeard {
		t.Errorf("a is %v", got)
	}
	// The slot moved while b was asked for.
	if got := s.answered(a, false); got != nowDeaf {
		t.Errorf("a is %v after an end that nobody asked for", got)
	}
	s.refused(slotOf(a.text))
	if s.names[b].busy || s.names[b].on {
		t.Error("b is not refused")
	}
	if s.retry() {
		t.Error("the probe is lost")
	}
	commands, _, _ := s.differences()
	if len(commands) != 1 || !slices.Equal(commands[0].names, []topicName{a, b}) {
		t.Errorf("tried again are %v", commands)
	}
}

func TestSubscriptionsTakeAnUnaskedEndForAnAnswer(t *testing.T) {
	a, b := name("gw:{x}a"), name("gw:{y}b")
	s := shardedOf(a)
	s.answered(a, true)
	s.set(false, []topicName{a})
	s.set(true, []topicName{b})
	s.differences()
	s.answered(a, false)      // unasked, and taken for the answer
	s.refused(slotOf(a.text)) // which comes now, and must not be b's
	if got := s.answered(b, true); got != nowHeard {
		t.Errorf("b is %v", got)
	}
	if len(s.sent) != 0 || s.names[a] != nil {
		t.Error("something is left over")
	}
}

func TestSubscriptionsAreOneSlotPerCommand(t *testing.T) {
	s := newSubscriptions(true, keys{"gw"}.own)
	var names []topicName
	for i := range 100 {
		names = append(names, name(fmt.Sprintf("gw:{%d}%d", i%10, i)))
	}
	s.set(true, names)
	commands, _, _ := s.differences()
	if len(commands) != 10 {
		t.Errorf("%d commands for ten slots", len(commands))
	}
	for _, c := range commands {
		for _, n := range c.names {
			if slotOf(n.text) != c.slot {
				t.Errorf("%s is in a command of slot %d", n.text, c.slot)
			}
		}
	}
}

func TestSubscriptionsComeBackHotFirst(t *testing.T) {
	s := newSubscriptions(false, keys{"gw"}.own)
	s.set(true, []topicName{name("gw:cold"), name("gw:warm"), name("plain"), name("gw:plain"), name("gw:hot")})
	s.differences()
	s.touch("", "gw:warm", 1)
	s.touch("", "gw:plain", 2)
	s.touch("", "gw:hot", 3)
	want := []topicName{name("gw:hot"), name("plain"), name("gw:plain"), name("gw:warm"), name("gw:cold")}
	if got := s.forget(); !slices.Equal(got, want) {
		t.Errorf("order is %v", got)
	}
	// It is kept when the connection breaks again before anything is heard.
	if got := s.forget(); !slices.Equal(got, want) {
		t.Errorf("order is then %v", got)
	}
}
