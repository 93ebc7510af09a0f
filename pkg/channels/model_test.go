package channels

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

var modelSeed = flag.Uint64("model.seed", 0, "run the model test with this seed only")

// TestModel drives random histories of publishing, losing announcements,
// outages, trimming, slow reading and reconnecting to random replicas, and
// proves of every client: each event once and in order, nothing missing but
// under exactly one gap, and no gap where nothing is missing.
func TestModel(t *testing.T) {
	seeds := 150
	if testing.Short() {
		seeds = 20
	}
	if *modelSeed != 0 {
		t.Run(fmt.Sprint("seed ", *modelSeed), func(t *testing.T) { runModel(t, *modelSeed) })
		return
	}
	for range seeds {
		seed := rand.Uint64()
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runModel(t, seed) }) {
			t.Fatalf("again with: go test -run TestModel ./pkg/channels -model.seed=%d", seed)
		}
	}
}

func runModel(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 1))
		size := []int{3, 20, 400}[rng.IntN(3)]
		p := Policy{HistorySize: size, HistoryTTL: time.Hour, BufferSize: 8}
		s := newStore(size, time.Hour)
		replicas := []*replica{s.replica(t, policies(t, p)), s.replica(t, policies(t, p))}
		names := []string{"a", "b", "c"}
		numbers := map[string]map[Position]int{"a": {}, "b": {}, "c": {}}
		var clients []*modelClient
		for range 5 {
			c := &modelClient{t: t, numbers: numbers, names: names, last: make(map[string]int)}
			c.client = replicas[rng.IntN(2)].connectAll(t, names)
			for i := range names {
				c.last[names[i]] = 0
			}
			clients = append(clients, c)
		}
		published := make(map[string]int)
		for range 300 {
			switch r := replicas[rng.IntN(2)]; rng.IntN(12) {
			case 0, 1, 2, 3, 4:
				name := names[rng.IntN(3)]
				for range 1 + rng.IntN(6) {
					published[name]++
					numbers[name][s.publish(name, strconv.Itoa(published[name]))] = published[name]
				}
			case 5:
				s.mu.Lock()
				r.drop = rng.IntN(4)
				s.mu.Unlock()
			case 6:
				r.setDown(!r.isDown())
			case 7, 8:
				clients[rng.IntN(5)].read(1 + rng.IntN(10))
			case 9:
				c := clients[rng.IntN(5)]
				c.read(1 + rng.IntN(10))
				if up := replicas[rng.IntN(2)]; !up.isDown() {
					c.reconnect(up)
				}
			case 10:
				time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
			case 11:
				synctest.Wait()
			}
		}
		for _, r := range replicas {
			s.mu.Lock()
			r.drop = 0
			s.mu.Unlock()
			if r.isDown() {
				r.setDown(false)
			}
		}
		time.Sleep(5 * time.Second) // several checks, and a renewal
		synctest.Wait()
		for i, c := range clients {
			for idle := 0; idle < 2; idle++ { // the first may have asked for a page
				if c.read(100) > 0 {
					idle = -1
				}
				synctest.Wait()
			}
			for _, name := range names {
				if c.last[name] != published[name] {
					t.Errorf("client %d ends at event %d of %q, published were %d", i, c.last[name], name, published[name])
				}
			}
			c.sub.Close()
		}
	})
}

func (b *memory) isDown() bool { return !b.Ready() }

func (r *replica) connectAll(t *testing.T, names []string) *client {
	var requests []Request
	for _, n := range names {
		requests = append(requests, Request{Channel: n})
	}
	return r.connect(t, requests...)
}

// modelClient checks what it is given. Events of a channel are numbered.
type modelClient struct {
	*client
	t       *testing.T
	numbers map[string]map[Position]int // of all events that ever were
	names   []string
	last    map[string]int  // number of the last event of each channel
	gap     map[string]*Gap // given since the last event
}

func (c *modelClient) read(limit int) int {
	deliveries, err := c.sub.Next(time.Now(), nil, limit, 1<<20)
	if err != nil {
		c.t.Fatalf("next: %v", err)
	}
	for i := range deliveries {
		d := &deliveries[i]
		name := c.sub.Channel(d.Channel)
		c.sub.Advance(d)
		if c.gap == nil {
			c.gap = make(map[string]*Gap)
		}
		if d.Gap != nil {
			if c.gap[name] != nil {
				c.t.Errorf("two gaps of %q with no event between", name)
			}
			c.gap[name] = d.Gap
			c.last[name] = c.skipped(name, d.Gap)
			continue
		}
		n, _ := strconv.Atoi(string(d.Entry.Encoded.Frame))
		if n != c.last[name]+1 {
			c.t.Errorf("of %q came event %d after %d (gap %v)", name, n, c.last[name], c.gap[name])
		}
		c.last[name] = n
		c.gap[name] = nil
	}
	return len(deliveries)
}

// skipped checks a gap, and returns the number of the event where it ends.
func (c *modelClient) skipped(name string, g *Gap) int {
	end, ok := c.numbers[name][g.To]
	if !ok {
		c.t.Errorf("gap %+v of %q ends at no event", *g, name)
	}
	if end <= c.last[name] {
		c.t.Errorf("gap %+v of %q, but nothing is missing after event %d", *g, name, c.last[name])
	}
	return end
}

func (c *modelClient) reconnect(r *replica) {
	cursor := c.cursor()
	c.sub.Close()
	c.client = r.resume(c.t, cursor, c.names...)
	c.gap = nil
}
