package channels

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Who is behind is seen from outside, as is what is dropped for it.
func TestLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(1000, 0)
		dropped := make(map[DropReason]int)
		var fanOuts, replays []string
		r := s.replica(t, policies(t, Policy{BufferSize: 4, OnFull: DropOldest, HistorySize: 1000, MessageTTL: time.Minute}), func(o *Options) {
			o.Hooks = Hooks{
				Dropped: func(r DropReason, n int) { dropped[r] += n },
				FanOut: func(channel string, e *Event, subscriptions int) {
					fanOuts = append(fanOuts, fmt.Sprintf("%s %s to %d", channel, e.Payload, subscriptions))
				},
				Replaying: func(channel string) func(int, error) {
					return func(events int, err error) { replays = append(replays, fmt.Sprintf("%s %d %v", channel, events, err)) }
				},
			}
		})
		want := func(most int64, behind, subscriptions int) {
			t.Helper()
			if m, n := r.hub.Lag(); m != most || n != behind || r.hub.Subscriptions() != subscriptions {
				t.Errorf("%d behind by %d at most, of %d; want %d, %d, %d", n, m, r.hub.Subscriptions(), behind, most, subscriptions)
			}
		}
		a, b := r.connect(t, Request{Channel: "a"}), r.connect(t, Request{Channel: "a"}, Request{Channel: "b"})
		var others []*client // more than one slice
		for range lagSlice {
			others = append(others, r.connect(t, Request{Channel: "c"}))
		}
		for _, c := range append(others, a, b) {
			c.now() // as a connection begins
		}
		want(0, 0, 3+lagSlice)
		s.publishNumbers("a", 1, 2)
		b.want("1", "2")
		if p, live := b.sub.Live(0); !live || p != s.top("a") {
			t.Errorf("the last live event is %v, %v", p, live)
		}
		synctest.Wait()
		want(2, 0, 3+lagSlice)
		s.publish("a", "3")
		synctest.Wait()
		want(3, 1, 3+lagSlice)
		s.publishNumbers("a", 4, 6)
		s.publish("c", "x")
		a.want("gap dropped(2)", "3", "4", "5", "6")
		b.want("3", "4", "5", "6")
		others[0].want("x")
		want(1, 0, 3+lagSlice)
		if dropped[DropFull] != 2 || dropped[DropExpired] != 0 {
			t.Errorf("dropped %v", dropped)
		}
		if len(fanOuts) != 7 || fanOuts[0] != "a 1 to 2" || fanOuts[6] != fmt.Sprintf("c x to %d", lagSlice) {
			t.Errorf("fan-outs %v", fanOuts)
		}

		// What is replayed is not live.
		back := r.connect(t, Request{Channel: "d", Start: Start{LastN: 3}})
		if len(replays) == 0 {
			t.Errorf("no replay is told of")
		}
		if _, live := back.sub.Live(0); live {
			t.Error("what was never given is live")
		}
		time.Sleep(2 * time.Minute)
		late := r.connect(t, Request{Channel: "a", Start: Start{Resume: &Position{Millis: 1}}})
		for range 3 {
			synctest.Wait() // what it asked for is read
			late.now()
		}
		if dropped[DropExpired] == 0 {
			t.Errorf("dropped %v", dropped)
		}
		a.sub.Close()
		b.sub.Drop(0)
		b.sub.Close()
		want(1, 0, 2+lagSlice)
	})
}
