package channels

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const conflateWindow = 100 * time.Millisecond

func conflated(p Policy) Policy {
	p.Conflate = Conflate{By: "data.id", Window: conflateWindow}
	return p
}

// encodeKey takes what stands before the colon in a payload for the key.
func encodeKey(_ string, e *Event) Encoded {
	object := []byte(`{"data":{}}`)
	if key, _, ok := strings.Cut(e.Payload, ":"); ok {
		object = fmt.Appendf(nil, `{"data":{"id":%q}}`, key)
	}
	frame := append([]byte(e.Payload), object...)
	return Encoded{Frame: frame, Body: len(e.Payload), From: len(e.Payload), To: len(frame)}
}

// conflation runs f in a bubble with two replicas, of which both conflate.
func conflation(t *testing.T, p Policy, f func(t *testing.T, s *store, a, b *replica)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(max(p.HistorySize, 1), max(p.HistoryTTL, time.Hour))
		encode := func(o *Options) { o.Encode = encodeKey }
		ps := policies(t, conflated(p))
		f(t, s, s.replica(t, ps, encode), s.replica(t, ps, encode))
	})
}

func (s *store) publishAll(channel string, payloads ...string) {
	for _, p := range payloads {
		s.publish(channel, p)
	}
}

// exactly tells what is ready, and that it is this.
func (c *client) exactly(want ...string) {
	c.t.Helper()
	synctest.Wait()
	if got := c.now(); !slices.Equal(got, want) {
		c.t.Fatalf("got %q, want %q", got, want)
	}
}

// windowPasses sleeps until the window that is open has ended.
func windowPasses() {
	time.Sleep(conflateWindow)
	synctest.Wait()
}

var withAndWithoutHistory = map[string]Policy{"history": history, "no history": {}}

func TestConflateNewestPerKey(t *testing.T) {
	for name, p := range withAndWithoutHistory {
		t.Run(name, func(t *testing.T) {
			conflation(t, p, func(t *testing.T, s *store, a, _ *replica) {
				c, d := a.connect(t, Request{Channel: "x"}), a.connect(t, Request{Channel: "x"})
				s.publish("x", "a:1")
				c.exactly("a:1") // at once
				s.publishAll("x", "a:2", "b:1", "a:3", "c:1", "b:2", "a:4")
				c.exactly()
				time.Sleep(conflateWindow - 1)
				c.exactly()
				time.Sleep(time.Nanosecond)
				c.exactly("c:1", "b:2", "a:4")
				d.exactly("a:1", "c:1", "b:2", "a:4")
				windowPasses()
				s.publish("x", "a:5")
				c.exactly("a:5") // after a quiet window at once again
			})
		})
	}
}

func TestConflateGoesOnWhileEventsCome(t *testing.T) {
	conflation(t, history, func(t *testing.T, s *store, a, _ *replica) {
		c := a.connect(t, Request{Channel: "x"})
		s.publish("x", "a:1")
		c.exactly("a:1")
		s.publish("x", "a:2")
		windowPasses()
		c.exactly("a:2")
		s.publishAll("x", "a:3", "a:4") // in the window that follows
		c.exactly()
		windowPasses()
		c.exactly("a:4")
	})
}

func TestConflateWithoutKeyAllAreDelivered(t *testing.T) {
	for name, p := range withAndWithoutHistory {
		t.Run(name, func(t *testing.T) {
			conflation(t, p, func(t *testing.T, s *store, a, _ *replica) {
				c := a.connect(t, Request{Channel: "x"})
				s.publishAll("x", "1", "2", "a:1", "3", "a:2", "4")
				c.exactly("1")
				windowPasses()
				c.exactly("2", "3", "a:2", "4")
			})
		})
	}
}

func TestConflateSubscriberWithinAWindow(t *testing.T) {
	conflation(t, history, func(t *testing.T, s *store, a, _ *replica) {
		first := a.connect(t, Request{Channel: "x"})
		s.publishAll("x", "a:1", "a:2", "b:1")
		second := a.connect(t, Request{Channel: "x"})
		s.publish("x", "a:3")
		first.exactly("a:1")
		windowPasses()
		first.exactly("b:1", "a:3")
		second.exactly("a:3")
		first.sub.Close()
		second.sub.Close()
	})
	conflation(t, Policy{}, func(t *testing.T, s *store, a, _ *replica) {
		first := a.connect(t, Request{Channel: "x"})
		s.publishAll("x", "a:1", "a:2", "b:1")
		second := a.connect(t, Request{Channel: "x"})
		s.publish("x", "a:3")
		first.exactly("a:1")
		windowPasses()
		first.exactly("b:1", "a:3")
		second.exactly("b:1", "a:3") // what waited when it came
	})
}

func TestConflateWakesOncePerWindow(t *testing.T) {
	conflation(t, history, func(t *testing.T, s *store, a, _ *replica) {
		c := a.connect(t, Request{Channel: "x"})
		s.publish("x", "a:0")
		c.exactly("a:0")
		<-c.bell
		for n := range 50 {
			s.publish("x", fmt.Sprint("a:", n+1))
		}
		synctest.Wait()
		if len(c.bell) > 0 {
			t.Error("woken for what is held back")
		}
		windowPasses()
		<-c.bell
		c.exactly("a:50")
	})
}

func TestConflateIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		s := newStore(1, time.Hour)
		a := s.replica(t, policies(t, conflated(Policy{})), func(o *Options) {
			o.Encode, o.Hooks.Conflated = encodeKey, func() { n.Add(1) }
		})
		c := a.connect(t, Request{Channel: "x"})
		s.publishAll("x", "a:1", "a:2", "a:3", "b:1", "a:4", "1")
		windowPasses()
		c.exactly("a:1", "b:1", "a:4", "1")
		if n.Load() != 2 {
			t.Errorf("%d were counted, want 2", n.Load())
		}
	})
}

func TestConflateResumesFromEachCursor(t *testing.T) {
	conflation(t, history, func(t *testing.T, s *store, a, b *replica) {
		c := a.connect(t, Request{Channel: "x"})
		s.publishAll("x", "a:1", "a:2", "b:1", "a:3", "b:2")
		windowPasses()
		deliveries, err := c.sub.Next(time.Now(), nil, 100, 1<<20)
		if err != nil || len(deliveries) != 3 {
			t.Fatalf("got %d deliveries, %v", len(deliveries), err)
		}
		for i, want := range [][]string{{"a:3", "b:2"}, {"b:2"}, nil} {
			c.texts(deliveries[i : i+1])
			again := a.resume(t, c.cursor(), "x")
			again.exactly(want...)
			again.sub.Close()
		}
		// Another replica reads the stream, where nothing is superseded.
		other := b.resume(t, c.cursor(), "x")
		other.exactly()
		s.publish("x", "a:4")
		other.exactly("a:4")
	})
}

func TestConflateResumesAfterAnEventThatIsHeldBack(t *testing.T) {
	conflation(t, history, func(t *testing.T, s *store, a, b *replica) {
		ahead, behind := a.connect(t, Request{Channel: "x"}), b.connect(t, Request{Channel: "x"})
		s.publish("x", "a:1")
		behind.exactly("a:1")
		ahead.exactly("a:1")
		time.Sleep(conflateWindow / 2)
		s.publishAll("x", "b:1", "a:2")
		time.Sleep(conflateWindow / 2)
		ahead.exactly("b:1", "a:2")
		s.publish("x", "c:1") // held back by both
		moved := b.resume(t, ahead.cursor(), "x")
		s.publishAll("x", "b:2", "c:2")
		windowPasses()
		moved.exactly("b:2", "c:2")
	})
}

func TestConflateGapIsNotSuperseded(t *testing.T) {
	conflation(t, Policy{HistorySize: 3, HistoryTTL: time.Hour}, func(t *testing.T, s *store, a, _ *replica) {
		c := a.connect(t, Request{Channel: "x"})
		s.publish("x", "a:1")
		c.exactly("a:1")
		a.setDown(true)
		s.publishAll("x", "a:2", "a:3", "a:4", "b:1", "a:5") // and keeps the last three
		a.setDown(false)
		time.Sleep(2 * time.Second)
		got := c.now()
		if len(got) == 0 || !strings.HasPrefix(got[0], "gap trimmed") || got[len(got)-1] != "a:5" || !slices.Contains(got, "b:1") {
			t.Errorf("got %q, want a gap, b:1 and a:5", got)
		}
	})
}

// Who comes back gets what Redis has: also what was superseded by something
// that Redis has lost since.
func TestConflateSupersededByWhatIsLost(t *testing.T) {
	conflation(t, history, func(t *testing.T, s *store, a, _ *replica) {
		c := a.connect(t, Request{Channel: "a"})
		s.publish("a", "z:1")
		c.exactly("z:1")
		cursor := c.cursor()
		s.publishAll("a", "a:1", "a:2")
		windowPasses()
		c.exactly("a:2")
		failover(s, 1, a)
		time.Sleep(2 * time.Second)
		again := a.resume(t, cursor, "a")
		synctest.Wait()
		if got := again.now(); len(got) == 0 || got[0] != "a:1" {
			t.Errorf("got %q, want a:1 first", got)
		}
	})
}

func TestConflateShowsEarly(t *testing.T) {
	t.Run("more keys than a connection may lag", func(t *testing.T) {
		conflation(t, Policy{BufferSize: 4, OnFull: Disconnect}, func(t *testing.T, s *store, a, _ *replica) {
			c := a.connect(t, Request{Channel: "x"})
			s.publish("x", "0")
			c.exactly("0")
			s.publishAll("x", "a:1", "b:1", "c:1")
			c.exactly()
			s.publish("x", "d:1")
			c.exactly("a:1", "b:1", "c:1", "d:1")
			s.publish("x", "a:2")
			c.exactly()
			windowPasses()
			c.exactly("a:2")
		})
	})
	t.Run("as much as half a log", func(t *testing.T) {
		conflation(t, Policy{HistorySize: 40, HistoryTTL: time.Hour, BufferSize: 4}, func(t *testing.T, s *store, a, _ *replica) {
			c := a.connect(t, Request{Channel: "x"})
			for n := range 60 {
				s.publish("x", fmt.Sprint("a:", n))
			}
			c.exactly("a:0", "a:20", "a:40")
			windowPasses()
			c.exactly("a:59")
		})
	})
	t.Run("what would be too old", func(t *testing.T) {
		conflation(t, history, func(t *testing.T, s *store, a, _ *replica) {
			c := a.connect(t, Request{Channel: "x"})
			s.publish("x", "a:0")
			c.exactly("a:0")
			s.publish("x", "a:1")
			s.publish("x", "a:2", func(e *Event) { e.TTL = conflateWindow / 2 })
			c.exactly("a:2")
		})
	})
}

// Without history what is superseded leaves the log, so however many events
// come in a window, none of the newest is evicted.
func TestConflateWithoutHistoryKeepsTheNewestOnly(t *testing.T) {
	conflation(t, Policy{BufferSize: 16, OnFull: DropOldest}, func(t *testing.T, s *store, a, _ *replica) {
		c := a.connect(t, Request{Channel: "x"})
		s.publishAll("x", "first:1", "rare:1")
		for n := range 5000 {
			s.publish("x", fmt.Sprintf("%d:%d", n%8, n))
		}
		top := a.hub.topic("x")
		top.mu.Lock()
		if n := len(top.log.entries); n > 100 {
			t.Errorf("the log holds %d events", n)
		}
		top.mu.Unlock()
		c.exactly("first:1")
		windowPasses()
		c.exactly("rare:1", "0:4992", "1:4993", "2:4994", "3:4995", "4:4996", "5:4997", "6:4998", "7:4999")
		bytes := 0
		for _, e := range top.log.entries {
			bytes += e.size()
		}
		if bytes != top.log.bytes {
			t.Errorf("the log counts %d bytes, it has %d", top.log.bytes, bytes)
		}
	})
}

// A lag and the count of a gap are of what a connection would be given.
func TestConflateLagCountsWhatIsGiven(t *testing.T) {
	fill := func(s *store) {
		for round := range 4 { // of 30 events, of which 3 remain
			for n := range 30 {
				s.publish("x", fmt.Sprintf("%d:%d", n%3, round*30+n))
			}
			windowPasses()
		}
	}
	policy := func(o OnFull) Policy {
		return Policy{HistorySize: 1000, HistoryTTL: time.Hour, BufferSize: 16, OnFull: o}
	}
	for _, o := range []OnFull{DropOldest, DropNewest, Disconnect} {
		t.Run(string(o), func(t *testing.T) {
			conflation(t, policy(o), func(t *testing.T, s *store, a, _ *replica) {
				c := a.connect(t, Request{Channel: "x"})
				c.exactly()
				fill(s)
				if got := c.now(); len(got) != 1+4*3 || slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "gap") }) {
					t.Errorf("got %q, want 13 events", got)
				}
			})
		})
	}
	t.Run("dropped", func(t *testing.T) {
		p := policy(DropOldest)
		p.BufferSize = 5
		p.HistorySize = 1000
		conflation(t, p, func(t *testing.T, s *store, a, _ *replica) {
			c := a.connect(t, Request{Channel: "x"})
			c.exactly()
			fill(s)
			got := c.now()
			if len(got) != 6 || got[0] != "gap dropped(8)" {
				t.Errorf("got %q, want a gap of 8 and 5 events", got)
			}
		})
	})
	t.Run("too slow", func(t *testing.T) {
		p := policy(Disconnect)
		p.BufferSize = 5
		conflation(t, p, func(t *testing.T, s *store, a, _ *replica) {
			c := a.connect(t, Request{Channel: "x"})
			c.exactly()
			fill(s)
			if _, err := c.sub.Next(time.Now(), nil, 100, 1<<20); !errors.Is(err, ErrSlow) {
				t.Errorf("got %v, want ErrSlow", err)
			}
		})
	})
}

func TestConflateFinish(t *testing.T) {
	for name, p := range withAndWithoutHistory {
		t.Run(name, func(t *testing.T) {
			conflation(t, p, func(t *testing.T, s *store, a, _ *replica) {
				c, d := a.connect(t, Request{Channel: "x"}), a.connect(t, Request{Channel: "x"})
				s.publishAll("x", "a:1", "a:2", "b:1", "a:3")
				c.exactly("a:1")
				c.sub.Finish()
				c.exactly("b:1", "a:3")
				c.sub.Close()
				d.exactly("a:1") // for the others the window goes on
				windowPasses()
				d.exactly("b:1", "a:3")
			})
		})
	}
}

func TestConflateHubEnds(t *testing.T) {
	conflation(t, history, func(t *testing.T, s *store, a, _ *replica) {
		c := a.connect(t, Request{Channel: "x"})
		s.publishAll("x", "a:1", "a:2")
		c.exactly("a:1")
		a.stop()
		c.exactly("a:2") // and no timer is left, or the bubble would not end at once
	})
}

func TestConflateIdleHasNoTimer(t *testing.T) {
	conflation(t, history, func(t *testing.T, s *store, a, _ *replica) {
		c := a.connect(t, Request{Channel: "x"})
		s.publish("x", "a:1")
		c.exactly("a:1")
		windowPasses()
		top := a.hub.topic("x")
		top.mu.Lock()
		defer top.mu.Unlock()
		if top.window.open || top.window.timer.Stop() {
			t.Error("a window is open while nothing comes")
		}
	})
}

// TestConflateModel plays random histories with faults, in which clients go
// from replica to replica with the cursors of what they were given.
func TestConflateModel(t *testing.T) {
	seeds := 300
	if testing.Short() || quick {
		seeds = 40
	}
	for range seeds {
		seed := rand.Uint64()
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runConflate(t, seed) }) {
			return
		}
	}
}

// wanderer is a client of TestConflateModel.
type wanderer struct {
	*client
	on     int
	from   int // of the events published, how many were before it
	events []string
}

func runConflate(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := Policy{HistorySize: 100_000, HistoryTTL: time.Hour, BufferSize: []int{2, 8, 300}[rng.IntN(3)]}
	conflation(t, p, func(t *testing.T, s *store, a, b *replica) {
		replicas := []*replica{a, b}
		var published []string
		var clients []*wanderer
		for range 4 {
			on := rng.IntN(2)
			clients = append(clients, &wanderer{client: replicas[on].connect(t, Request{Channel: "x"}), on: on})
		}
		read := func(w *wanderer, limit int) int {
			if !w.sub.Begun(time.Now()) {
				return 0
			}
			deliveries, err := w.sub.Next(time.Now(), nil, limit, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			deliveries = deliveries[:min(len(deliveries), limit)]
			w.events = append(w.events, w.texts(deliveries)...)
			return len(deliveries)
		}
		for range 200 {
			w := clients[rng.IntN(len(clients))]
			switch rng.IntN(12) {
			default:
				for range 1 + rng.IntN(10) {
					text := fmt.Sprint(len(published))
					if key := rng.IntN(6); key > 0 {
						text = fmt.Sprintf("%c:%s", 'a'+key, text)
					}
					published = append(published, text)
					s.publish("x", text)
				}
			case 4, 5:
				time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
				synctest.Wait()
			case 6, 7:
				read(w, 1+rng.IntN(20))
			case 8: // reads a part of what is ready, and comes back with its cursor
				if w.sub.Begun(time.Now()) {
					read(w, 1+rng.IntN(3))
					cursor := w.cursor()
					w.sub.Close()
					w.on = rng.IntN(2)
					bell := make(bell, 1)
					parsed, err := ParseCursor(cursor)
					if err != nil {
						t.Fatal(err)
					}
					at, _ := parsed.Position("x")
					sub, err := replicas[w.on].hub.Subscribe(bell, []Request{{Channel: "x", Start: Start{Resume: &at}}})
					if err != nil {
						t.Fatal(err)
					}
					w.client = &client{t: t, sub: sub, bell: bell}
				}
			case 9: // announcements are missed
				s.mu.Lock()
				replicas[rng.IntN(2)].drop = rng.IntN(5)
				s.mu.Unlock()
			case 10:
				replicas[rng.IntN(2)].setDown(rng.IntN(2) == 0)
			case 11: // a client that is new
				if len(clients) < 8 && w.sub.Begun(time.Now()) {
					on := rng.IntN(2)
					s.mu.Lock()
					down := replicas[on].down
					s.mu.Unlock()
					if down {
						break
					}
					time.Sleep(3 * time.Second) // it knows all that was published
					synctest.Wait()
					c := replicas[on].connect(t, Request{Channel: "x"})
					clients = append(clients, &wanderer{client: c, on: on, from: len(published)})
				}
			}
		}
		s.mu.Lock()
		a.drop, b.drop = 0, 0
		s.mu.Unlock()
		a.setDown(false)
		b.setDown(false)
		for range 5 {
			time.Sleep(2 * time.Second)
			synctest.Wait()
			for _, w := range clients {
				for read(w, 1000) > 0 {
					synctest.Wait()
				}
			}
		}
		for i, w := range clients {
			for _, problem := range proveConflated(published[w.from:], w.events) {
				t.Errorf("seed %d, client %d: %s", seed, i, problem)
			}
		}
		if t.Failed() {
			t.Logf("published %q", published)
			for i, w := range clients {
				t.Logf("client %d, from %d, was given %q", i, w.from, w.events)
			}
		}
		for _, w := range clients {
			w.sub.Close()
		}
	})
}

// proveConflated proves of what a client was given that it is in order, nothing
// twice, no gap, everything without a key, and of each key the last.
func proveConflated(published, given []string) (problems []string) {
	key := func(s string) string {
		k, _, ok := strings.Cut(s, ":")
		if !ok {
			return s // its own
		}
		return k
	}
	next, last := 0, make(map[string]string)
	for _, e := range given {
		i := slices.Index(published[next:], e)
		if i < 0 {
			return append(problems, fmt.Sprintf("%q came late, twice, or is no event", e))
		}
		next += i + 1
		last[key(e)] = e
	}
	want := make(map[string]string)
	for _, e := range published {
		want[key(e)] = e
	}
	for k, e := range want {
		if last[k] != e {
			problems = append(problems, fmt.Sprintf("the last of %s is %q, want %q", k, last[k], e))
		}
	}
	return problems
}

// TestConflateCounts plays random histories in which slow clients drop events:
// the gaps' counts are exactly of what a client that keeps up is given.
func TestConflateCounts(t *testing.T) {
	seeds := 200
	if testing.Short() || quick {
		seeds = 30
	}
	for range seeds {
		seed := rand.Uint64()
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runCounts(t, seed) }) {
			return
		}
	}
}

func runCounts(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	p := Policy{BufferSize: 1 + rng.IntN(12), OnFull: []OnFull{DropOldest, DropNewest}[rng.IntN(2)]}
	if rng.IntN(2) == 0 {
		p.HistorySize, p.HistoryTTL = 40, time.Hour // that decides the log's length
	}
	conflation(t, p, func(t *testing.T, s *store, a, _ *replica) {
		s.size = 1000 // nothing is trimmed
		type slow struct {
			*client
			from  int // of what the quick client was given
			start Position
			got   []Delivery
		}
		quickly := a.connect(t, Request{Channel: "x"})
		var all []Delivery
		read := func(c *client, limit int, list []Delivery) []Delivery {
			list, err := c.sub.Next(time.Now(), list, limit, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		connect := func() *slow {
			c := &slow{client: a.connect(t, Request{Channel: "x"}), from: len(all)}
			c.start, _ = c.sub.Started(0)
			c.got = read(c.client, 1, nil) // nothing, but now it has caught up
			return c
		}
		clients := []*slow{connect()}
		for n := range 400 {
			switch rng.IntN(20) {
			default:
				s.publish("x", fmt.Sprintf("%d:%d", rng.IntN(1+rng.IntN(8)), n))
			case 0, 1:
				s.publish("x", fmt.Sprint(n))
			case 2, 3:
				time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
			case 4:
				c := clients[rng.IntN(len(clients))]
				c.got = read(c.client, 1+rng.IntN(10), c.got)
			case 5:
				if len(clients) < 5 {
					clients = append(clients, connect())
				}
			}
			synctest.Wait()
			all = read(quickly, 1000, all)
		}
		windowPasses()
		windowPasses()
		all = read(quickly, 1000, all)
		for i, c := range clients {
			for more := -1; more != len(c.got); {
				more = len(c.got)
				c.got = read(c.client, 1000, c.got)
			}
			rest := all[c.from:]
			for p.History() && len(rest) > 0 && !c.start.Less(rest[0].Entry.Position) {
				rest = rest[1:]
			}
			for _, d := range c.got {
				switch {
				case d.Gap != nil && d.Gap.Reason == GapDropped && d.Gap.Count <= int64(len(rest)):
					rest = rest[d.Gap.Count:]
				case d.Gap == nil && len(rest) > 0 && rest[0].Entry == d.Entry:
					rest = rest[1:]
				default:
					t.Fatalf("seed %d, client %d of %d, %+v: got %q of %q, with %d left", seed, i, len(clients), p,
						(&client{sub: c.sub}).texts(c.got), quickly.texts(all), len(rest))
				}
			}
			if len(rest) > 0 {
				t.Errorf("seed %d, client %d: %d events neither came nor were counted", seed, i, len(rest))
			}
		}
	})
}

func TestMemberAt(t *testing.T) {
	const object = `{"channel":"c","data":{"id":"a\"b","n":1.50,"ok":true,"no":false,"null":null,"list":[{"id":1}],"o":{"id":"deep","":{"x":2}},` +
		`"twice":1,"twice":2,"es\u0063aped":3},"type":"t","data.id":"flat"}`
	for path, want := range map[string]string{
		"data.id": `"a\"b"`, "data.n": "1.50", "data.ok": "true", "data.no": "false", "type": `"t"`, "data.o.id": `"deep"`,
		"data.twice": "2", "data.escaped": "3",
		"data.null": "", "data.list": "", "data.list.id": "", "data.o": "", "data": "", "data.missing": "", "missing": "", "data.id.x": "", "type.x": "",
	} {
		if got := string(memberAt([]byte(object), newWindow(&Policy{Conflate: Conflate{By: path}}).path)); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	for _, none := range []string{"", "{}", "[]", `"data"`, "1", "null"} {
		if got := memberAt([]byte(none), [][]byte{[]byte("data")}); got != nil {
			t.Errorf("in %q there is %q", none, got)
		}
	}
}

// Whatever is published, the key is that which encoding/json finds.
func FuzzMemberAt(f *testing.F) {
	for _, payload := range []string{`{"id":1}`, `{"type":"t","data":{"id":"x"}}`, `[1]`, `text`, `{"id":{"id":[]},"id":null}`, `{"i\u0064":"\ud800"}`} {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		_, object := Render("c", &Event{Payload: payload})
		var outer, inner map[string]json.RawMessage
		want := ""
		if json.Unmarshal(object, &outer) == nil && json.Unmarshal(outer["data"], &inner) == nil {
			if v := string(inner["id"]); v != "" && v != "null" && v[0] != '{' && v[0] != '[' {
				want = v
			}
		}
		if got := string(memberAt(object, [][]byte{[]byte("data"), []byte("id")})); got != want {
			t.Errorf("%s: got %q, want %q", object, got, want)
		}
	})
}

func TestConflatePolicies(t *testing.T) {
	a := pattern(t, "a")
	for want, p := range map[string]Policy{
		"conflate.by is empty":                                    {Pattern: a, Conflate: Conflate{Window: time.Second}},
		"conflate.window is 0s":                                   {Pattern: a, Conflate: Conflate{By: "data.id"}},
		"conflate.window is 2h0m0s":                               {Pattern: a, Conflate: Conflate{By: "data.id", Window: 2 * time.Hour}},
		"conflate.window is 1.5ms":                                {Pattern: a, Conflate: Conflate{By: "data.id", Window: 1500 * time.Microsecond}},
		"conflate.by has no name in part 2":                       {Pattern: a, Conflate: Conflate{By: "data..id", Window: time.Second}},
		"conflate.by has no name in part 1":                       {Pattern: a, Conflate: Conflate{By: ".", Window: time.Second}},
		"conflate.by has a control":                               {Pattern: a, Conflate: Conflate{By: "data\n", Window: time.Second}},
		"conflate.by has 256 bytes":                               {Pattern: a, Conflate: Conflate{By: strings.Repeat("x", 256), Window: time.Second}},
		"conflate.window is 1s, allowed is less than messageTTL":  {Pattern: a, MessageTTL: time.Second, Conflate: Conflate{By: "id", Window: time.Second}},
		"conflate.window is 1h0m0s, allowed is less than history": {Pattern: a, HistorySize: 1, HistoryTTL: time.Hour, Conflate: Conflate{By: "id", Window: time.Hour}},
	} {
		if _, err := NewPolicies([]Policy{p}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that says %q", err, want)
		}
	}
	for _, by := range []string{"id", "data.id", "data.größe", "a.b.c.d"} {
		if p := policies(t, Policy{Conflate: Conflate{By: by, Window: time.Millisecond}}).For("c"); !p.Conflates() {
			t.Errorf("%q does not conflate", by)
		}
	}
}

// A connection that ends may be open for a while after Finish, until its last
// bytes are written; the windows go on for the others.
func TestConflateGoesOnAfterFinish(t *testing.T) {
	for name, p := range withAndWithoutHistory {
		t.Run(name, func(t *testing.T) {
			conflation(t, p, func(t *testing.T, s *store, a, _ *replica) {
				ending, c := a.connect(t, Request{Channel: "x"}), a.connect(t, Request{Channel: "x"})
				s.publishAll("x", "a:1", "a:2", "a:3")
				ending.exactly("a:1")
				ending.sub.Finish()
				ending.exactly("a:3")
				windowPasses()
				c.exactly("a:1", "a:3")
				s.publishAll("x", "b:1", "c:1")
				ending.exactly("b:1", "c:1")
				s.publishAll("x", "b:2", "b:3", "b:4", "d:1")
				ending.exactly("b:4", "d:1")
				windowPasses()
				c.exactly("c:1", "b:4", "d:1")
			})
		})
	}
}
