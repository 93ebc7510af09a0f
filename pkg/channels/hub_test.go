package channels

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// history is a policy of a channel with history, as the tests' store keeps it.
var history = Policy{HistorySize: 100, HistoryTTL: time.Hour}

func numbers(from, to int) []string {
	var list []string
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprint(i))
	}
	return list
}

func (s *store) publishNumbers(channel string, from, to int) {
	for _, n := range numbers(from, to) {
		s.publish(channel, n)
	}
}

// scenario runs f in a bubble with one replica over a fresh store.
func scenario(t *testing.T, p Policy, f func(t *testing.T, s *store, r *replica)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(max(p.HistorySize, 1), p.HistoryTTL)
		f(t, s, s.replica(t, policies(t, p)))
	})
}

func TestEventsReachSubscribersInOrder(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		a, b := r.connect(t, Request{Channel: "a"}), r.connect(t, Request{Channel: "a"}, Request{Channel: "b"})
		s.publishNumbers("a", 1, 3)
		a.want("1", "2", "3")
		b.want("1", "2", "3")
		s.publish("b", "x")
		b.want("x")
		synctest.Wait()
		if got := a.now(); got != nil {
			t.Errorf("a subscriber of another channel got %v", got)
		}
	})
}

func TestLostAnnouncementIsFilledInBeforeTheNext(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		r.drop = 2
		s.publishNumbers("a", 2, 4)
		c.want("1", "2", "3", "4")
	})
}

func TestLostLastAnnouncementIsFoundByTheCheck(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		r.drop = 1
		s.publish("a", "1")
		c.want("1")
	})
}

func TestRepeatedAnnouncementIsGivenOnce(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		e := s.entries("a")[0]
		r.hub.Announced("a", e)
		s.publish("a", "2")
		r.hub.Announced("a", e)
		c.want("1", "2")
		synctest.Wait()
		if got := c.now(); got != nil {
			t.Errorf("then came %v", got)
		}
	})
}

func TestUnreadableAnnouncementIsReadFromTheStream(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		r.drop = 1
		s.publish("a", "1")
		r.hub.Unclear("a")
		c.want("1")
	})
}

func TestForgedAnnouncementIsNotBelieved(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		top := s.top("a")
		r.hub.Announced("a", Event{Position: Position{top.Millis + 9, 0}, Prev: Position{top.Millis + 5, 0}, Payload: "forged"})
		s.publish("a", "2")
		c.want("1", "2")
		synctest.Wait() // would not return if the forged one were waited for
	})
}

func TestRedisAwayAndBack(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		r.setDown(true)
		s.publishNumbers("a", 2, 5)
		c.want("1")
		r.setDown(false)
		s.publish("a", "6")
		c.want("2", "3", "4", "5", "6")
	})
}

func TestQuietChannelHasNoGapAfterAnOutage(t *testing.T) {
	scenario(t, Policy{HistorySize: 100, HistoryTTL: time.Minute}, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "seen"}, Request{Channel: "never"})
		s.publish("seen", "1")
		c.want("1")
		time.Sleep(time.Hour) // the event is trimmed by age, but everybody saw it
		r.setDown(true)
		r.setDown(false)
		synctest.Wait()
		if got := c.now(); got != nil {
			t.Errorf("got %v", got)
		}
		again := s.replica(t, policies(t, history)).resume(t, c.cursor(), "seen", "never")
		s.publish("seen", "2")
		s.publish("never", "x")
		got := again.take(2)
		slices.Sort(got)
		if !slices.Equal(got, []string{"2", "x"}) {
			t.Errorf("after resuming elsewhere came %v", got)
		}
	})
}

func TestResumeOnAnotherReplica(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"}, Request{Channel: "b"})
		s.publishNumbers("a", 1, 3)
		c.want("1", "2", "3")
		cursor := c.cursor()
		c.sub.Close()
		s.publishNumbers("a", 4, 6)
		s.publish("b", "x")
		for _, other := range []*replica{r, s.replica(t, policies(t, history))} {
			got := other.resume(t, cursor, "a", "b").take(4)
			slices.Sort(got)
			if !slices.Equal(got, []string{"4", "5", "6", "x"}) {
				t.Errorf("resumed with %v", got)
			}
		}
	})
}

// A client can know a position that this replica has not heard of yet.
func TestResumeAheadOfThisReplica(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		first := r.connect(t, Request{Channel: "a"})
		late := s.replica(t, policies(t, history))
		late.connect(t, Request{Channel: "a"})
		late.drop = 2
		s.publishNumbers("a", 1, 2)
		first.want("1", "2")
		c := late.resume(t, first.cursor(), "a")
		s.publish("a", "3")
		c.want("3")
	})
}

func TestTrimmedHistoryGivesOneGap(t *testing.T) {
	scenario(t, Policy{HistorySize: 3}, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		c.want("1")
		cursor := c.cursor()
		other := s.replica(t, policies(t, Policy{HistorySize: 3}))
		s.publishNumbers("a", 2, 9)
		back := other.resume(t, cursor, "a")
		back.want("gap trimmed(0)", "7", "8", "9")
		s.publish("a", "10")
		back.want("10")
	})
}

func TestWhollyTrimmedHistoryGivesOneGap(t *testing.T) {
	scenario(t, Policy{HistorySize: 5, HistoryTTL: time.Minute}, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		c.want("1")
		cursor := c.cursor()
		s.publishNumbers("a", 2, 3)
		time.Sleep(2 * time.Minute)
		back := s.replica(t, policies(t, Policy{HistorySize: 5, HistoryTTL: time.Minute})).resume(t, cursor, "a")
		back.want("gap expired(0)")
		s.publish("a", "4")
		back.want("4")
	})
}

func TestPositionsThatRedisLostGiveAGap(t *testing.T) {
	t.Run("to a connected client", func(t *testing.T) {
		scenario(t, history, func(t *testing.T, s *store, r *replica) {
			c := r.connect(t, Request{Channel: "a"})
			s.publishNumbers("a", 1, 5)
			c.want("1", "2", "3", "4", "5")
			r.setDown(true)
			s.lose("a", 2)
			r.setDown(false)
			c.want("gap lost(0)") // at once, not with the next event
			s.publish("a", "new")
			c.want("new")
		})
	})
	t.Run("to one that comes back", func(t *testing.T) {
		scenario(t, history, func(t *testing.T, s *store, r *replica) {
			c := r.connect(t, Request{Channel: "a"})
			s.publishNumbers("a", 1, 5)
			c.want("1", "2", "3", "4", "5")
			s.lose("a", 2)
			back := s.replica(t, policies(t, history)).resume(t, c.cursor(), "a")
			back.want("gap lost(0)")
			time.Sleep(time.Second)
			s.publish("a", "new")
			back.want("new")
		})
	})
}

func TestForeignCursorGivesAGap(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		s.publish("a", "1")
		c := r.connect(t, Request{Channel: "a", Start: Start{Unreadable: true}})
		c.want("gap cursor(0)")
		s.publish("a", "2")
		c.want("2")
	})
}

func TestFirstConnectionReplays(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start Start
		want  []string
	}{
		{"nothing by default", Start{}, []string{"live"}},
		{"the last two", Start{LastN: 2}, []string{"9", "10", "live"}},
		{"more than there are", Start{LastN: 50}, append(numbers(1, 10), "live")},
		{"not older than", Start{LastN: -1, MaxAge: 35 * time.Second}, []string{"8", "9", "10", "live"}},
		{"both", Start{LastN: 2, MaxAge: time.Hour}, []string{"9", "10", "live"}},
		{"both, age first", Start{LastN: 5, MaxAge: 15 * time.Second}, []string{"10", "live"}},
		{"older than all", Start{LastN: 5, MaxAge: time.Second}, []string{"live"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scenario(t, history, func(t *testing.T, s *store, r *replica) {
				for _, n := range numbers(1, 10) {
					s.publish("a", n)
					time.Sleep(10 * time.Second)
				}
				c := r.connect(t, Request{Channel: "a", Start: tt.start})
				s.publish("a", "live")
				c.want(tt.want...)
			})
		})
	}
}

func TestEventsOlderThanTheirTTLAreNeverGiven(t *testing.T) {
	ttl := func(d time.Duration) func(*Event) { return func(e *Event) { e.TTL = d } }
	t.Run("replayed", func(t *testing.T) {
		scenario(t, Policy{HistorySize: 100, MessageTTL: time.Minute}, func(t *testing.T, s *store, r *replica) {
			c := r.connect(t, Request{Channel: "a"})
			s.publishNumbers("a", 1, 2)
			time.Sleep(50 * time.Second)
			s.publish("a", "short", ttl(5*time.Second))
			s.publish("a", "3")
			time.Sleep(20 * time.Second)
			c.want("gap expired(3)", "3")
		})
	})
	t.Run("at the end", func(t *testing.T) {
		scenario(t, history, func(t *testing.T, s *store, r *replica) {
			c := r.connect(t, Request{Channel: "a"})
			s.publish("a", "short", ttl(time.Second))
			time.Sleep(2 * time.Second)
			c.want("gap expired(1)")
		})
	})
	t.Run("on a first connection, silently", func(t *testing.T) {
		scenario(t, history, func(t *testing.T, s *store, r *replica) {
			s.publish("a", "short", ttl(time.Second))
			s.publish("a", "long")
			time.Sleep(2 * time.Second)
			r.connect(t, Request{Channel: "a", Start: Start{LastN: 2}}).want("long")
		})
	})
}

func TestOnFull(t *testing.T) {
	p := func(o OnFull, history int) Policy {
		return Policy{BufferSize: 4, OnFull: o, HistorySize: history}
	}
	for _, tt := range []struct {
		name   string
		policy Policy
		events int
		want   []string
	}{
		{"drop-oldest within the buffer", p(DropOldest, 0), 4, numbers(1, 4)},
		{"drop-oldest", p(DropOldest, 0), 10, append([]string{"gap dropped(6)"}, numbers(7, 10)...)},
		{"drop-oldest beyond the log", p(DropOldest, 0), 500, append([]string{"gap dropped(496)"}, numbers(497, 500)...)},
		{"drop-oldest with history", p(DropOldest, 600), 500, append([]string{"gap dropped(496)"}, numbers(497, 500)...)},
		{"drop-newest", p(DropNewest, 0), 10, append(numbers(1, 4), "gap dropped(6)")},
		{"drop-newest beyond the log", p(DropNewest, 0), 500, append(numbers(1, 4), "gap dropped(496)")},
		{"drop-newest with history", p(DropNewest, 10), 500, append(numbers(1, 4), "gap dropped(496)")},
		{"catch-up", p(CatchUp, 600), 500, numbers(1, 500)},
		{"catch-up beyond history", p(CatchUp, 50), 500, append([]string{"gap trimmed(0)"}, numbers(451, 500)...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scenario(t, tt.policy, func(t *testing.T, s *store, r *replica) {
				c := r.connect(t, Request{Channel: "a"})
				c.now() // it has caught up: from now on it lags
				s.publishNumbers("a", 1, tt.events)
				c.want(tt.want...)
				s.publish("a", "next")
				c.want("next")
			})
		})
	}
	t.Run("disconnect", func(t *testing.T) {
		scenario(t, p(Disconnect, 100), func(t *testing.T, s *store, r *replica) {
			c := r.connect(t, Request{Channel: "a"})
			c.now()
			s.publishNumbers("a", 1, 5)
			if _, err := c.sub.Next(time.Now(), nil, 100, 1<<20); !errors.Is(err, ErrSlow) {
				t.Errorf("next: %v, want ErrSlow", err)
			}
		})
	})
	t.Run("a replay is no lag", func(t *testing.T) {
		scenario(t, p(DropOldest, 100), func(t *testing.T, s *store, r *replica) {
			c := r.connect(t, Request{Channel: "a"})
			cursor := c.cursor()
			s.publishNumbers("a", 1, 50)
			r.resume(t, cursor, "a").want(numbers(1, 50)...)
		})
	})
}

func TestNoHistoryIsLiveOnly(t *testing.T) {
	scenario(t, Policy{}, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		c.want("1")
		if got := c.cursor(); got != "1" {
			t.Errorf("cursor %q knows a channel without history", got)
		}
		r.setDown(true)
		s.publish("a", "missed")
		r.setDown(false)
		s.publish("a", "2")
		c.want("2")
	})
}

func TestLingeringChannelCostsNothingToComeBackTo(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		cursor := c.cursor()
		c.sub.Close()
		s.publishNumbers("a", 1, 3)
		time.Sleep(500 * time.Millisecond) // a page reload, before the next check
		before := s.readCount()
		r.resume(t, cursor, "a").want("1", "2", "3")
		if s.readCount() != before || r.unconfirms != 0 {
			t.Errorf("%d reads and %d unsubscribes, want none", s.readCount()-before, r.unconfirms)
		}
	})
}

func TestChannelIsReleasedAfterTheLinger(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		c.sub.Close()
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if r.unconfirms != 1 || r.hub.Channels() != 0 {
			t.Errorf("%d unsubscribes and %d channels, want 1 and 0", r.unconfirms, r.hub.Channels())
		}
		c = r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		c.want("1")
	})
}

func TestConcurrentReplaysShareReads(t *testing.T) {
	scenario(t, Policy{HistorySize: 1000}, func(t *testing.T, s *store, r *replica) {
		start := Position{}
		s.publish("a", "0")
		start = s.top("a")
		s.publishNumbers("a", 1, 300)
		var clients []*client
		for range 50 {
			clients = append(clients, r.connect(t, Request{Channel: "a", Start: Start{Resume: &start}}))
		}
		for _, c := range clients {
			c.want(numbers(1, 300)...)
		}
		if n := s.readCount(); n > 10 {
			t.Errorf("%d reads for 50 clients, want them shared", n)
		}
	})
}

func TestFailedReadIsTriedAgain(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.mu.Lock()
		r.err = errors.New("no permission")
		s.mu.Unlock()
		r.drop = 1
		s.publishNumbers("a", 1, 2)
		synctest.Wait()
		if got := c.now(); got != nil {
			t.Errorf("out of order: %v", got)
		}
		s.mu.Lock()
		r.err = nil
		s.mu.Unlock()
		c.want("1", "2")
	})
}

func TestFailedReplayIsTriedAgain(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		s.publish("a", "0")
		start := s.top("a")
		s.publishNumbers("a", 1, 2)
		r.connect(t, Request{Channel: "a"})
		s.mu.Lock()
		r.err = errors.New("no memory")
		s.mu.Unlock()
		c := r.connect(t, Request{Channel: "a", Start: Start{Resume: &start}})
		synctest.Wait()
		if got := c.now(); got != nil {
			t.Errorf("got %v", got)
		}
		time.Sleep(5 * time.Second)
		s.mu.Lock()
		r.err = nil
		s.mu.Unlock()
		c.want("1", "2")
	})
}

func TestHistoryPages(t *testing.T) {
	scenario(t, Policy{HistorySize: 10}, func(t *testing.T, s *store, r *replica) {
		first := s.publish("a", "0")
		s.publishNumbers("a", 1, 20)
		texts := func(h *History) []string {
			var got []string
			for _, e := range h.Entries {
				if e.Gap != nil {
					got = append(got, "gap "+string(e.Gap.Reason))
				} else {
					got = append(got, e.Encoded.payload())
				}
			}
			return got
		}
		page, err := r.hub.History(t.Context(), "a", nil, 6)
		if err != nil || !slices.Equal(texts(page), numbers(11, 16)) || !page.More {
			t.Fatalf("first page %v, more %v, %v", texts(page), page.More, err)
		}
		page, err = r.hub.History(t.Context(), "a", &page.Last, 6)
		if err != nil || !slices.Equal(texts(page), numbers(17, 20)) || page.More {
			t.Fatalf("second page %v, more %v, %v", texts(page), page.More, err)
		}
		page, err = r.hub.History(t.Context(), "a", &first, 2)
		if want := append([]string{"gap trimmed"}, numbers(11, 12)...); err != nil || !slices.Equal(texts(page), want) {
			t.Fatalf("page after a trimmed position %v, want %v, %v", texts(page), want, err)
		}
	})
}

func TestUnknownChannelIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(1, 0)
		r := s.replica(t, policies(t, Policy{Pattern: pattern(t, "a:*")}))
		_, err := r.hub.Subscribe(make(bell, 1), []Request{{Channel: "a:b"}, {Channel: "b"}})
		if !errors.Is(err, ErrUnknownChannel) {
			t.Errorf("subscribe: %v, want ErrUnknownChannel", err)
		}
		if r.hub.Channels() != 0 {
			t.Error("a refused request subscribed to something")
		}
	})
}

// What was published before a subscriber came is not counted as dropped.
func TestDroppedCountsFromTheBeginning(t *testing.T) {
	scenario(t, Policy{BufferSize: 2, OnFull: DropOldest}, func(t *testing.T, s *store, r *replica) {
		r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 5)
		c := r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 6, 10)
		c.want("gap dropped(3)", "9", "10")
	})
}

// A log that began anew has nothing left for who was still behind.
func TestDropNewestWhenTheLogBeginsAnew(t *testing.T) {
	p := history
	p.OnFull, p.BufferSize = DropNewest, 4
	scenario(t, p, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		c.want("1")
		s.publishNumbers("a", 2, 3)
		top := r.hub.topic("a")
		top.mu.Lock()
		top.log.reset(top.log.end, time.Now())
		top.mu.Unlock()
		s.publish("a", "4")
		c.want("gap dropped(2)", "4")
	})
}

// A new replica gets the clients of another, each with a place of its own: it
// reads each stream once.
func TestAColdStartReadsEachStreamOnce(t *testing.T) {
	const channels, each = 100, 10
	scenario(t, Policy{HistorySize: 1000}, func(t *testing.T, s *store, r *replica) {
		places := make([][]Position, channels)
		for i := range places {
			for n := range 3 * each {
				places[i] = append(places[i], s.publish(strconv.Itoa(i), strconv.Itoa(n)))
			}
		}
		fresh := s.replica(t, policies(t, Policy{HistorySize: 1000}))
		before := s.readCount()
		clients := make([][]*client, channels)
		for n := range each {
			for i, at := range places {
				start := at[(7*n+i)%(2*each)]
				clients[i] = append(clients[i], fresh.connect(t, Request{Channel: strconv.Itoa(i), Start: Start{Resume: &start}}))
			}
		}
		for i := range places {
			for n, c := range clients[i] {
				c.want(numbers((7*n+i)%(2*each)+1, 3*each-1)...)
			}
		}
		if n := s.readCount() - before - channels; n != channels { // each was opened as well
			t.Errorf("%d reads of %d streams by %d clients, want one each", n, channels, channels*each)
		}
	})
}
