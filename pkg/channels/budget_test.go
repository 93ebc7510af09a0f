package channels

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// logOf returns how many entries and bytes the channel's log has.
func (r *replica) logOf(channel string) (entries, bytes int) {
	t := r.hub.topic(channel)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.log.entries {
		bytes += e.size()
	}
	return len(t.log.entries), bytes
}

// wantBytes checks the count against what the logs really hold.
func (r *replica) wantBytes(t *testing.T) {
	t.Helper()
	sum := 0
	r.hub.mu.RLock()
	names := make([]string, 0, len(r.hub.topics))
	for name := range r.hub.topics {
		names = append(names, name)
	}
	r.hub.mu.RUnlock()
	for _, name := range names {
		_, bytes := r.logOf(name)
		sum += bytes
	}
	if got := r.hub.LogBytes(); got != int64(sum) {
		t.Fatalf("%d bytes are counted, and there are %d", got, sum)
	}
}

func budgetOf(bytes int64) func(*Options) { return func(o *Options) { o.LogBytes = bytes } }

func TestBudgetIsKept(t *testing.T) {
	const budget, appenders, names, size, rounds = 256 << 10, 8, 40, 1 << 10, 200
	synctest.Test(t, func(t *testing.T) {
		s := newStore(10_000, 0)
		evicted := 0
		r := s.replica(t, policies(t, Policy{HistorySize: 10_000}), budgetOf(budget), func(o *Options) {
			o.Hooks.Evicted = func(events int) { evicted += events }
		})
		var clients []*client
		for i := range names {
			clients = append(clients, r.connect(t, Request{Channel: fmt.Sprint("c", i)}))
		}
		payload := strings.Repeat("x", size)
		var all sync.WaitGroup
		for a := range appenders {
			all.Go(func() {
				for i := range rounds {
					// Each channel has one appender, as a link is one.
					s.publish(fmt.Sprint("c", a+appenders*(i%(names/appenders))), payload)
					if sum := r.hub.LogBytes(); sum > budget+appenders*(size+128) {
						t.Errorf("the logs hold %d bytes, want %d at most, and one event for each appender", sum, budget)
						return
					}
				}
			})
		}
		all.Wait()
		synctest.Wait()
		r.wantBytes(t)
		if sum := r.hub.LogBytes(); sum > budget || sum < budget/2 {
			t.Errorf("the logs hold %d bytes in the end, want about %d", sum, budget)
		}
		held := 0
		for i := range names {
			n, _ := r.logOf(fmt.Sprint("c", i))
			held += n
		}
		if held+evicted != appenders*rounds {
			t.Errorf("%d events are held and %d evicted, of %d", held, evicted, appenders*rounds)
		}
		for i, c := range clients {
			if got := c.take(appenders * rounds / names); len(got) != appenders*rounds/names || slices.Contains(got, "gap dropped(0)") {
				t.Errorf("client %d got %d events", i, len(got))
			}
		}
	})
}

func TestColdLogsGoFirst(t *testing.T) {
	const budget, size = 64 << 10, 1<<10 - 128
	synctest.Test(t, func(t *testing.T) {
		s := newStore(10_000, 0)
		r := s.replica(t, policies(t, Policy{HistorySize: 10_000}), budgetOf(budget), func(o *Options) { o.Linger = time.Hour })
		payload := strings.Repeat("x", size)
		clients := map[string]*client{}
		publish := func(name string) {
			s.publish(name, payload)
			synctest.Wait()
			clients[name].now()
		}
		for _, name := range []string{"read", "cold", "warm", "left", "hot"} {
			clients[name] = r.connect(t, Request{Channel: name})
			if name == "hot" {
				break
			}
			for range 12 {
				publish(name)
			}
		}
		clients["left"].sub.Close()
		// The oldest is read once more.
		begin := s.entries("read")[0].Position
		if got := r.connect(t, Request{Channel: "read", Start: Start{Resume: &begin}}).take(11); len(got) != 11 {
			t.Fatalf("a replay of %d", len(got))
		}
		order := []string{"left", "cold", "warm", "read"}
		var gone []string
		for range 100 {
			publish("hot")
			for i, name := range order {
				n, _ := r.logOf(name)
				if n == 12 {
					continue
				}
				if !slices.Contains(gone, name) {
					gone = append(gone, name)
				}
				if i > 0 {
					if left, _ := r.logOf(order[i-1]); left > 0 {
						t.Fatalf("%s is shortened, and %s has %d entries yet", name, order[i-1], left)
					}
				}
			}
		}
		if !slices.Equal(gone, order) {
			t.Errorf("shortened were %v, want %v", gone, order)
		}
		if n, _ := r.logOf("hot"); n < 48 {
			t.Errorf("the hot one has %d entries, and all the memory", n)
		}
		r.wantBytes(t)
	})
}

func TestEvictedHistoryIsReadFromTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(10_000, 0)
		r := s.replica(t, policies(t, Policy{HistorySize: 10_000, BufferSize: 4}), budgetOf(1))
		live, slow := r.connect(t, Request{Channel: "a"}), r.connect(t, Request{Channel: "a"}, Request{Channel: "b"})
		begin := live.cursor()
		var want []string
		for i := range 300 {
			s.publish("a", fmt.Sprint(i))
			want = append(want, fmt.Sprint(i))
			if n, bytes := r.logOf("a"); n != 0 || bytes != 0 {
				t.Fatalf("the log has %d entries", n)
			}
			live.want(fmt.Sprint(i))
		}
		slow.want(want...)
		r.resume(t, begin, "a").want(want...)
		synctest.Wait()
		r.wantBytes(t)
	})
}

// What a policy promises is the same whether there is memory or not.
func TestBudgetKeepsWhatPoliciesPromise(t *testing.T) {
	for _, p := range []Policy{
		{OnFull: DropOldest}, {OnFull: DropNewest}, {OnFull: Disconnect},
		{OnFull: DropOldest, HistorySize: 1000}, {OnFull: DropNewest, HistorySize: 1000}, {OnFull: Disconnect, HistorySize: 1000},
		{OnFull: CatchUp, HistorySize: 1000},
	} {
		p.BufferSize = 8
		for _, lag := range []int{1, 7, 8, 9, 15, 30} {
			t.Run(fmt.Sprint(p.OnFull, p.HistorySize, lag), func(t *testing.T) {
				given := func(budget int64) (got []string) {
					synctest.Test(t, func(t *testing.T) {
						s := newStore(1000, 0)
						r := s.replica(t, policies(t, p), budgetOf(budget))
						c := r.connect(t, Request{Channel: "a"})
						synctest.Wait()
						c.now()
						n := 0
						for range 3 {
							for range lag {
								n++
								s.publish("a", fmt.Sprint(n))
							}
							for idle := 0; idle < 3; idle++ {
								synctest.Wait()
								deliveries, err := c.sub.Next(time.Now(), nil, 1000, 1<<20)
								got = append(got, c.texts(deliveries)...)
								if err != nil {
									got = append(got, err.Error())
									break
								}
							}
						}
						s.publish("a", "end") // has what is read by now go
						synctest.Wait()
						r.wantBytes(t)
						if sum := r.hub.LogBytes(); budget == 1 && p.OnFull != Disconnect && sum > 200 {
							t.Errorf("%d bytes are kept that nobody needs", sum)
						}
					})
					return got
				}
				if want, got := given(0), given(1); !slices.Equal(got, want) {
					t.Errorf("without memory\n%v\nwith\n%v", got, want)
				}
			})
		}
	}
}

// Where nothing may go, nobody tries at each event.
func TestShorteningInVain(t *testing.T) {
	const budget, events = 16 << 10, 1000
	synctest.Test(t, func(t *testing.T) {
		s := newStore(1, 0)
		r := s.replica(t, policies(t, Policy{BufferSize: 10_000, OnFull: DropOldest}), budgetOf(budget))
		c := r.connect(t, Request{Channel: "a"})
		for range events {
			s.publish("a", "x")
		}
		synctest.Wait()
		b := &r.hub.logs
		if sum := r.hub.LogBytes(); sum != events*129 {
			t.Errorf("%d bytes are kept, want all %d", sum, events*129)
		}
		if tries, most := b.epoch.Load(), int64(2*events*129/(budget/16)); tries > most+int64(events*129)/b.step {
			t.Errorf("shortened in vain about %d times, want %d at most", tries, most)
		}
		c.take(events)
		time.Sleep(3 * time.Second) // a check
		synctest.Wait()
		if sum := r.hub.LogBytes(); sum > budget {
			t.Errorf("%d bytes are kept that have been read", sum)
		}
		r.wantBytes(t)
	})
}

func TestADroppedChannelHoldsNothing(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publish("a", "1")
		c.want("1")
		if r.hub.LogBytes() == 0 {
			t.Error("nothing is counted")
		}
		c.sub.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n, sum := r.hub.Channels(), r.hub.LogBytes(); n != 0 || sum != 0 {
			t.Errorf("%d channels and %d bytes are left", n, sum)
		}
	})
}

// arrays returns how many bytes a log's frames keep in memory at least, with
// what stands behind them in the same arrays.
func (l *log) arrays() (bytes int) {
	ends := make(map[*byte]int)
	for _, e := range l.entries {
		all := e.Encoded.Frame[:cap(e.Encoded.Frame)]
		ends[&all[len(all)-1]] = max(ends[&all[len(all)-1]], len(all))
	}
	for _, n := range ends {
		bytes += n
	}
	return bytes
}

// What the budget counts is about what there is: frames that stand in shared
// chunks must not keep much more than themselves.
func TestLogsHoldWhatTheyCount(t *testing.T) {
	for name, p := range map[string]Policy{
		"a short log":  {BufferSize: 1},
		"a long log":   {},
		"with history": history,
		"conflated":    conflated(Policy{}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(max(p.HistorySize, 1), time.Hour)
				r := s.replica(t, policies(t, p), func(o *Options) { o.Encode = encodeKey })
				c := r.connect(t, Request{Channel: "x"})
				synctest.Wait()
				counted, held := 0, 0
				for range 40 {
					for range 401 { // of one key
						s.publish("x", "key:"+strings.Repeat("x", 200))
						top := r.hub.topic("x")
						top.mu.Lock()
						counted = max(counted, top.log.bytes)
						top.mu.Unlock()
					}
					windowPasses()
					c.now()
					top := r.hub.topic("x")
					top.mu.Lock()
					held = max(held, top.log.arrays())
					top.mu.Unlock()
				}
				if held > 2*counted {
					t.Errorf("%d bytes are held, %d counted", held, counted)
				}
			})
		})
	}
}
