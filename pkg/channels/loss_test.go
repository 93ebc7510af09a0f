package channels

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// gaps fetches what is there and returns the gaps among it.
func (c *client) gaps() []Gap {
	c.t.Helper()
	deliveries, err := c.sub.Next(time.Now(), nil, 1000, 1<<20)
	if err != nil {
		c.t.Fatal(err)
	}
	c.texts(deliveries)
	var list []Gap
	for _, d := range deliveries {
		if d.Gap != nil {
			list = append(list, *d.Gap)
		}
	}
	return list
}

// failover loses the newest n events while nobody can look.
func failover(s *store, n int, replicas ...*replica) {
	for _, r := range replicas {
		r.setDown(true)
	}
	s.lose("a", n)
	for _, r := range replicas {
		r.setDown(false)
	}
	synctest.Wait()
}

// Whoever was connected to the replica that had delivered what is lost, or to
// another one, or to none, is told, once, before the next event.
func TestEveryClientLearnsOfALoss(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		other := s.replica(t, policies(t, history))
		stays, before := r.connect(t, Request{Channel: "a"}), r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 3)
		before.want("1", "2", "3")
		among := r.connect(t, Request{Channel: "a"})
		deaf := other.connect(t, Request{Channel: "a"})
		other.setDown(true)
		s.publish("a", "4")
		among.want("4")
		s.publish("a", "5")
		stays.want("1", "2", "3", "4", "5")
		s.lose("a", 2)
		r.setDown(true)
		r.setDown(false)
		synctest.Wait()
		other.setDown(false)
		clients := map[string]*client{
			"stays": stays, "was deaf": deaf,
			"was there before the loss": other.resume(t, before.cursor(), "a"),
			"had seen some of it":       other.resume(t, among.cursor(), "a"),
			"had seen all of it":        other.resume(t, stays.cursor(), "a"),
		}
		s.publish("a", "6")
		for name, c := range clients {
			if got := c.take(2); !slices.Equal(got, []string{"gap lost(0)", "6"}) {
				t.Errorf("who %s got %v", name, got)
			}
			if got := c.now(); got != nil {
				t.Errorf("who %s then got %v", name, got)
			}
		}
	})
}

func TestALossIsShownWhereItHappened(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 5)
		c.want(numbers(1, 5)...)
		at := s.entries("a")[2].Position
		away := c.cursor()
		upto := s.top("a")
		failover(s, 2, r)
		gaps := c.gaps()
		if len(gaps) != 1 || gaps[0].From != upto || !upto.Less(gaps[0].To) {
			t.Errorf("gaps %+v, want one from %v", gaps, upto)
		}
		other := s.replica(t, policies(t, history))
		if gaps := other.connect(t, Request{Channel: "a", Start: Start{Resume: &at}}).takeGaps(); len(gaps) != 1 || gaps[0].From != at {
			t.Errorf("who was away since the loss has gaps %+v, want one from %v", gaps, at)
		}
		if gaps := other.resume(t, away, "a").takeGaps(); len(gaps) != 1 || gaps[0].From != upto {
			t.Errorf("who had all that was lost has gaps %+v, want one from %v", gaps, upto)
		}
		again := c.cursor()
		s.publish("a", "6")
		for _, on := range []*replica{r, other, s.replica(t, policies(t, history))} {
			on.resume(t, again, "a").want("6") // told already
		}
	})
}

func (c *client) takeGaps() []Gap {
	gaps := c.gaps() // or asks for a page where one is needed
	synctest.Wait()
	return append(gaps, c.gaps()...)
}

// Events that were published before the loss could be recorded.
func TestALossThatIsRecordedLate(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		other := s.replica(t, policies(t, history))
		c := r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 3)
		c.want("1", "2", "3")
		deaf := other.resume(t, c.cursor(), "a")
		after := s.top("a")
		other.setDown(true)
		s.publishNumbers("a", 4, 5)
		c.want("4", "5")
		r.setDown(true)
		s.lose("a", 2)
		other.setDown(false)
		time.Sleep(time.Second)
		s.publish("a", "6")
		deaf.want("6") // nobody who knows of the loss has been heard
		r.setDown(false)
		c.want("gap lost(0)", "6")
		synctest.Wait()
		if gaps := deaf.gaps(); len(gaps) != 1 || gaps[0].From != after || gaps[0].Reason != GapLost {
			t.Errorf("gaps %+v, want one from %v", gaps, after)
		}
		if got := c.now(); got != nil {
			t.Errorf("who had been told already got %v", got)
		}
		s.publish("a", "7")
		c.want("7")
		deaf.want("7")
	})
}

// Who comes back to what was published before the loss was recorded is told
// once, by the break in the chain, and not again by the record.
func TestABreakAndItsRecordAreOneGap(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 3)
		c.want("1", "2", "3")
		among := c.cursor()
		s.publishNumbers("a", 4, 5)
		c.want("4", "5")
		r.setDown(true)
		s.lose("a", 3)
		time.Sleep(time.Second)
		s.publish("a", "6")
		r.setDown(false)
		c.want("gap lost(0)", "6")
		time.Sleep(time.Second)
		s.publish("a", "7")
		c.want("7")
		s.replica(t, policies(t, history)).resume(t, among, "a").want("gap lost(0)", "6", "7")
	})
}

// The new master's clock is behind: it gives positions that lie before those
// that were lost, and even the same.
func TestPositionsGivenTwice(t *testing.T) {
	for _, same := range []bool{false, true} {
		scenario(t, history, func(t *testing.T, s *store, r *replica) {
			c := r.connect(t, Request{Channel: "a"})
			s.publish("a", "1")
			for i := range 3 {
				time.Sleep(time.Second)
				s.publish("a", numbers(2, 4)[i])
			}
			c.want(numbers(1, 4)...)
			lost := s.entries("a")[1:]
			r.setDown(true)
			s.lose("a", 3)
			publish := func(payload string, i int) {
				s.publish("a", payload, func(e *Event) {
					e.Position = lost[i].Position
					if !same {
						e.Position.Millis -= 100
					}
				})
			}
			publish("b2", 0)
			r.setDown(false)
			publish("b3", 1)
			publish("b4", 2)
			time.Sleep(5 * time.Second)
			s.publish("a", "5")
			got := c.take(2)
			if got[0] != "gap lost(0)" || got[len(got)-1] != "5" {
				t.Errorf("same positions %v: got %v, want a gap first and 5 last", same, got)
			}
			for _, text := range got {
				if slices.Contains([]string{"1", "2", "3", "4"}, text) {
					t.Errorf("%s came twice: %v", text, got)
				}
			}
		})
	}
}

// Redis has lost everything, its clock is behind, and no connection broke.
func TestPositionsThatBeginAgainBefore(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 2)
		c.want("1", "2")
		s.mu.Lock()
		delete(s.streams, "a")
		s.mu.Unlock()
		s.publish("a", "3", func(e *Event) { e.Position.Millis -= 180_000 })
		c.want("gap lost(0)")
		s.publish("a", "4")
		c.want("4")
	})
}

// A replica that still asks a master which is being replaced does not know what
// others have delivered, and learns of it later.
func TestAReplicaThatFindsOutLater(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 2)
		c.want("1", "2")
		behind := newStore(100, time.Hour)
		behind.streams["a"] = &stream{entries: s.entries("a")[:1:1], top: s.entries("a")[0].Position}
		other := behind.replica(t, policies(t, history))
		back := other.resume(t, c.cursor(), "a")
		back.want("gap lost(0)")
		cursor := back.cursor()
		if cursor != c.cursor() {
			t.Errorf("the cursor went from %s to %s", c.cursor(), cursor)
		}
		other.setDown(true)
		behind.mu.Lock()
		behind.streams = s.streams
		behind.mu.Unlock()
		other.setDown(false)
		synctest.Wait()
		behind.publish("a", "3")
		back.want("gap lost(0)", "3") // it cannot know that this is what the client has
	})
}

// Two masters were published to at once, and the one that this replica heard is
// gone. Who heard it gets a gap that holds what the other one had; who did not
// gets that.
func TestTwoMastersAtOnce(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 2)
		c.want("1", "2")
		fork, common := s.top("a"), c.cursor()
		at := func(n uint64) func(*Event) { return func(e *Event) { e.Position = Position{fork.Millis + n, 0} } }
		s.publish("a", "old 3", at(20))
		s.publish("a", "old 4", at(40))
		c.want("old 3", "old 4")
		r.setDown(true)
		s.lose("a", 2)
		s.publish("a", "new 3", at(10))
		s.publish("a", "new 4", at(30))
		s.publish("a", "new 5", at(50))
		r.setDown(false)
		if gaps := c.takeGaps(); len(gaps) != 1 || gaps[0].From != fork || gaps[0].To.Millis < fork.Millis+40 {
			t.Errorf("gaps %+v, want one from %v", gaps, fork)
		}
		time.Sleep(time.Second)
		s.publish("a", "6")
		c.want("6")
		for _, on := range []*replica{r, s.replica(t, policies(t, history))} {
			on.resume(t, common, "a").want("new 3", "new 4", "new 5", "gap lost(0)", "6")
		}
	})
}

// Who heard less of the master that is gone than the replica did can be given
// what the other one had meanwhile: no gap holds an event that comes behind it.
func TestTwoMastersAtOnceAndOneWhoLeftBetween(t *testing.T) {
	for _, when := range []string{"comes back early", "comes back late"} {
		scenario(t, history, func(t *testing.T, s *store, r *replica) {
			c := r.connect(t, Request{Channel: "a"})
			s.publishNumbers("a", 1, 2)
			c.want("1", "2")
			fork := s.top("a")
			at := func(n uint64) func(*Event) { return func(e *Event) { e.Position = Position{fork.Millis + n, 0} } }
			s.publish("a", "old 3", at(20))
			c.want("old 3")
			between := c.cursor()
			s.publish("a", "old 4", at(40))
			c.want("old 4")
			r.setDown(true)
			s.lose("a", 2)
			s.publish("a", "new 3", at(30))
			s.publish("a", "new 4", at(50))
			var back *client
			if when == "comes back early" {
				back = r.resume(t, between, "a")
			}
			r.setDown(false)
			synctest.Wait()
			if back == nil {
				back = r.resume(t, between, "a")
			}
			time.Sleep(time.Second)
			s.publish("a", "6")
			var told []Gap
			for n := 0; n < 3; {
				deliveries, err := back.sub.Next(time.Now(), nil, 1000, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range deliveries {
					if d.Gap != nil {
						told = append(told, *d.Gap)
						continue
					}
					n++
					for _, g := range told {
						if !g.To.Less(d.Entry.Position) {
							t.Errorf("who %s got %v behind the gap from %v to %v", when, d.Entry.Position, g.From, g.To)
						}
					}
				}
				back.texts(deliveries)
				if n < 3 {
					back.wait(fmt.Sprintf("event %d of 3", n+1))
				}
			}
			if len(told) == 0 || told[0].From != fork {
				t.Errorf("who %s was told of %+v, want the loss from %v on", when, told, fork)
			}
			lost := func(p Position) bool {
				return slices.ContainsFunc(told, func(g Gap) bool { return g.From.Less(p) && !g.To.Less(p) })
			}
			if old := (Position{fork.Millis + 40, 0}); !lost(old) {
				t.Errorf("who %s was told of %+v, which does not hold %v", when, told, old)
			}
		})
	}
}

// A replica that has heard the master that is gone asks Redis before it tells a
// client of the other one that its position is lost.
func TestTwoMastersAtOnceAndAReplicaThatHeardTheWrongOne(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 2)
		c.want("1", "2")
		fork := s.top("a")
		at := func(n uint64) func(*Event) { return func(e *Event) { e.Position = Position{fork.Millis + n, 0} } }
		s.publish("a", "old 3", at(40))
		c.want("old 3")
		s.lose("a", 1)
		s.mu.Lock()
		r.drop = 2
		s.mu.Unlock()
		seen := s.publish("a", "new 3", at(20))
		s.publish("a", "new 4", at(30))
		back := r.resume(t, string(AppendCursor(nil, []Mark{{HashName("a"), seen}})), "a")
		back.want("new 4", "gap lost(0)") // the record of "old 3"
	})
}

func TestALossThatCannotBeRecorded(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		r.unmarkable = true
		c := r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 5)
		c.want(numbers(1, 5)...)
		failover(s, 2, r)
		c.want("gap lost(0)")
		time.Sleep(time.Second)
		s.publish("a", "6")
		c.want("6")
		r.resume(t, c.cursor(), "a")
		s.publish("a", "7")
		c.want("7")
	})
}

// A replica that still has in memory what Redis has lost gives it to those who
// were connected, and to who comes back what every other replica would.
func TestWhatIsLostStaysWithThoseWhoWereThere(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		first := r.connect(t, Request{Channel: "a"})
		lags := r.connect(t, Request{Channel: "a"})
		lags.now()
		s.publishNumbers("a", 1, 2)
		first.want("1", "2")
		cursor := first.cursor()
		s.publishNumbers("a", 3, 5)
		failover(s, 2, r)
		time.Sleep(time.Second)
		s.publish("a", "6")
		lags.want("1", "2", "3", "4", "5", "gap lost(0)", "6")
		for _, on := range []*replica{r, s.replica(t, policies(t, history))} {
			on.resume(t, cursor, "a").want("3", "gap lost(0)", "6")
		}
	})
}

func TestAnEmptiedRedis(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		other := s.replica(t, policies(t, history))
		c, quiet := r.connect(t, Request{Channel: "a"}), r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 3)
		c.want("1", "2", "3")
		before := quiet.cursor()
		s.mu.Lock()
		delete(s.streams, "a")
		s.mu.Unlock()
		time.Sleep(4 * time.Second) // found by the check: no connection broke
		synctest.Wait()
		c.want("gap lost(0)")
		back := other.resume(t, before, "a")
		back.want("gap lost(0)")
		s.publish("a", "4")
		c.want("4")
		back.want("4")
	})
}

// Another event than the log's last, at the same position and with the same
// predecessor, is no repeated announcement.
func TestAnAnnouncementAtAPositionGivenTwice(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 2)
		c.want("1", "2")
		s.lose("a", 1)
		s.publish("a", "other") // the clock stands still: where 2 was
		c.want("gap lost(0)")
		s.publish("a", "3")
		c.want("3")
	})
}

// Who comes back with a position that is lost, to a replica that cannot know
// it, is not told again when another replica records the loss.
func TestALossThatIsRecordedAfterItWasTold(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 2)
		c.want("1", "2")
		s.lose("a", 1)
		time.Sleep(time.Millisecond)
		back := s.replica(t, policies(t, history)).resume(t, c.cursor(), "a")
		back.want("gap lost(0)")
		s.publish("a", "3")
		back.want("3")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if got := back.now(); got != nil {
			t.Errorf("told again: %v", got)
		}
		c.want("gap lost(0)", "3")
	})
}

// Before a loss is recorded, what is missing looks as if it were trimmed.
func TestALossBetweenAPositionAndTheLog(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		c.want("1")
		cursor := c.cursor()
		s.publish("a", "2")
		other := s.replica(t, policies(t, history))
		other.connect(t, Request{Channel: "a"})
		s.lose("a", 1)
		back := other.resume(t, cursor, "a")
		back.now() // asks for a page
		time.Sleep(4 * time.Second)
		back.want("gap lost(0)")
	})
}

// Redis loses the record of a loss too, before everybody has been told.
func TestTheRecordOfALossIsLost(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		other := s.replica(t, policies(t, history))
		c, deaf := r.connect(t, Request{Channel: "a"}), other.connect(t, Request{Channel: "a"})
		from := s.publish("a", "1")
		deaf.want("1")
		other.drop = 1
		s.publish("a", "2")
		c.want("1", "2")
		s.lose("a", 1)
		time.Sleep(time.Millisecond)
		other.setDown(true)
		s.publish("a", "3")
		synctest.Wait()
		s.lose("a", 1)
		other.setDown(false)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if gaps := deaf.gaps(); len(gaps) != 1 || gaps[0].From != from {
			t.Errorf("gaps %+v, want one from %v", gaps, from)
		}
		if e := s.entries("a"); e[len(e)-1].Lost.After != from {
			t.Errorf("recorded is %+v, want it from %v", e[len(e)-1].Lost, from)
		}
	})
}

// Of a position given twice only the event there is lost, not those before it.
func TestWhoComesBackToAPositionGivenTwice(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c, away := r.connect(t, Request{Channel: "a"}), r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		c.want("1")
		away.want("1")
		s.publishNumbers("a", 2, 3)
		c.want("2", "3")
		r.setDown(true)
		s.lose("a", 1)
		s.publish("a", "other")
		r.setDown(false)
		c.want("gap lost(0)")
		r.resume(t, away.cursor(), "a").want("2", "gap lost(0)")
	})
}

// The new master's clock is behind, and what it published lies between what
// was lost: nobody can tell from where on.
func TestALossAmongPositions(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		first := s.publish("a", "2", func(e *Event) { e.Position.Seq += 10 })
		s.publish("a", "3", func(e *Event) { e.Position.Seq += 20 })
		c.want("1", "2", "3")
		r.setDown(true)
		s.lose("a", 2)
		s.publish("a", "4", func(e *Event) { e.Position.Seq += 15 })
		r.setDown(false)
		c.want("gap lost(0)")
		time.Sleep(time.Second) // the record may follow what the client is told
		synctest.Wait()
		e := s.entries("a")
		if lost := e[len(e)-1].Lost; lost == nil || !lost.After.Less(first) {
			t.Errorf("recorded is %+v, want it from before %v", lost, first)
		}
	})
}

// All is lost, and what was published until a replica could record that has
// positions before those of clients: it lies in their gap.
func TestALossOfEverythingWithTheClockBehind(t *testing.T) {
	for _, heard := range []bool{false, true} {
		scenario(t, history, func(t *testing.T, s *store, r *replica) {
			s.publish("a", "0")
			time.Sleep(time.Minute)
			c := r.connect(t, Request{Channel: "a"})
			s.publishNumbers("a", 1, 2)
			c.want("1", "2")
			before := s.top("a")
			if !heard {
				r.setDown(true)
			}
			s.flush()
			s.mu.Lock()
			s.skew = -time.Hour
			s.mu.Unlock()
			behind := s.publish("a", "3")
			s.publish("a", "4")
			r.setDown(false)
			synctest.Wait()
			if gaps := c.gaps(); len(gaps) != 1 || !gaps[0].From.Less(behind) || gaps[0].To.Less(before) {
				t.Errorf("gaps %+v, want one with %v and %v in it", gaps, behind, before)
			}
			s.publish("a", "5")
			c.want("5")
		})
	}
}

// What a younger log cannot know of, because it was before its time, is not
// taken for lost.
func TestALossBeforeTheLogBegan(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		s.publish("a", "0")
		kept := s.top("a")
		time.Sleep(time.Minute)
		s.publish("a", "1")
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "2")
		c.want("2")
		failover(s, 2, r)
		c.want("gap lost(0)")
		if e := s.entries("a"); e[len(e)-1].Lost.After != kept {
			t.Errorf("recorded is %+v, want it from %v", e[len(e)-1].Lost, kept)
		}
	})
}

// Who has read up to between a loss and its record, when all that follows is
// lost too, is told from where he stands and not from the first record on.
func TestALossBeforeTheRecordOfAnother(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		r.setDown(true)
		s.lose("a", 1)
		time.Sleep(time.Millisecond)
		s.publish("a", "2")
		at := s.top("a")
		s.publish("a", "3")
		r.setDown(false)
		synctest.Wait()
		deliveries, err := c.sub.Next(time.Now(), nil, 1, 1<<20)
		if got := c.texts(deliveries); err != nil || !slices.Equal(got, []string{"gap lost(0)", "2"}) {
			t.Fatalf("got %v, %v", got, err)
		}
		r.setDown(true)
		s.flush()
		time.Sleep(time.Second)
		s.publish("a", "4")
		r.setDown(false)
		synctest.Wait()
		if gaps := c.gaps(); len(gaps) != 1 || at.Less(gaps[0].From) {
			t.Errorf("gaps %+v, want one from %v", gaps, at)
		}
	})
}
