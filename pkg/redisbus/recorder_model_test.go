package redisbus

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"realtime-gateway/pkg/channels"
)

// world is two recorders and Redis, small enough to try every order in which
// things can happen. All payloads have the same content, which is the hard
// case; positions are "1-n" for the n-th record.
type world struct {
	published, limit int
	records          []int // who made each, in order
	r                [2]*modelRecorder
	// What may still happen: a recorder's death, a call's end without an answer
	// or a look into the stream, and messages that the first recorder misses.
	crashes, errors, misses int
}

type modelRecorder struct {
	alive  bool
	queue  []heardItem // on the connection, in the order of Redis
	o      *occurrences
	calls  []call // in flight, in order
	done   int    // of calls, how many Redis has executed
	unsure bool
}

// heardItem is a payload (number above 0), or a record.
type heardItem struct {
	payload, since int
	record         int
}

type call struct {
	p    *plain
	last channels.Position
	made int // the record it made, or 0
}

func newWorld(limit, crashes, errors, misses int) *world {
	w := &world{limit: limit, crashes: crashes, errors: errors, misses: misses}
	for i := range w.r {
		w.r[i] = &modelRecorder{alive: true, o: newOccurrences()}
	}
	return w
}

func (w *world) clone() *world {
	c := *w
	c.records = append([]int(nil), w.records...)
	for i, r := range w.r {
		n := &modelRecorder{alive: r.alive, queue: append([]heardItem(nil), r.queue...), o: newOccurrences(), done: r.done, unsure: r.unsure}
		moved := make(map[*plain]*plain)
		move := func(p *plain) *plain {
			if moved[p] == nil {
				q := *p
				moved[p] = &q
			}
			return moved[p]
		}
		for _, p := range r.o.waiting {
			n.o.waiting = append(n.o.waiting, move(p))
		}
		maps.Copy(n.o.missed, r.o.missed)
		for k, v := range r.o.counts {
			o := *v
			n.o.counts[k] = &o
		}
		for _, call := range r.calls {
			call.p = move(call.p)
			n.calls = append(n.calls, call)
		}
		c.r[i] = n
	}
	return &c
}

// key tells states apart.
func (w *world) key() string {
	var b strings.Builder
	fmt.Fprint(&b, w.published, w.records, w.crashes, w.errors, w.misses)
	for _, r := range w.r {
		fmt.Fprint(&b, "|", r.alive, r.queue, r.o.names(), r.o.of(tick, begin).last, r.done, r.unsure, r.o.missed)
		for _, c := range r.calls {
			fmt.Fprint(&b, ";", c.p.payload, c.last, c.made)
		}
	}
	return b.String()
}

func recordAt(n int) channels.Position { return pos(1, uint64(n)) }

// moves are the things that can happen next, each doing it to the world it is
// given.
func (w *world) moves() map[string]func(*world) {
	m := make(map[string]func(*world))
	if w.published < w.limit {
		m["publish"] = func(w *world) {
			w.published++
			for _, r := range w.r {
				if r.alive {
					r.queue = append(r.queue, heardItem{payload: w.published, since: len(w.records)})
				}
			}
		}
	}
	for i, r := range w.r {
		if !r.alive {
			continue
		}
		name := func(s string) string { return fmt.Sprintf("%c %s", 'A'+i, s) }
		if len(r.queue) > 0 && r.calls == nil { // one goroutine hears and calls
			m[name("hears")] = func(w *world) { w.r[i].hear() }
		}
		if len(r.o.waiting) > 0 && r.calls == nil {
			m[name("calls")] = func(w *world) { w.r[i].call(w) }
		}
		if r.calls != nil && r.done < len(r.calls) {
			m[name("is executed")] = func(w *world) { w.execute(i) }
		}
		if r.calls != nil && r.done == len(r.calls) {
			m[name("is answered")] = func(w *world) { w.r[i].answered() }
		}
		if r.calls != nil && w.errors > 0 {
			m[name("loses its connection")] = func(w *world) {
				w.errors--
				w.r[i].calls, w.r[i].done, w.r[i].unsure = nil, 0, true
			}
		}
		if r.calls == nil && len(r.o.waiting) > 0 && w.errors > 0 {
			m[name("counts")] = func(w *world) { w.errors--; w.r[i].recount(w) }
		}
		if i == 0 && w.misses > 0 && len(r.queue) > 0 && r.calls == nil {
			m[name("misses")] = func(w *world) {
				w.misses--
				w.r[i].queue, w.r[i].unsure = nil, true
				w.r[i].o.broken()
				clear(w.r[i].o.held) // unsure is that here
			}
		}
		if w.crashes > 0 {
			m[name("crashes")] = func(w *world) {
				w.crashes--
				*w.r[i] = modelRecorder{o: newOccurrences()}
			}
		}
	}
	return m
}

func (r *modelRecorder) hear() {
	item := r.queue[0]
	r.queue = r.queue[1:]
	if item.payload > 0 {
		p := waitingFor(tick, fmt.Sprint(item.payload))
		p.since = recordAt(item.since + 1) // those before were made before it came
		r.o.heard(p, begin)
	} else {
		r.o.recorded(tick, recordAt(item.record), begin)
	}
}

// call queues what waits, with what is known now; as recordDue does, and after
// an error recount first.
func (r *modelRecorder) call(w *world) {
	if r.unsure {
		r.recount(w)
		r.unsure = false
	}
	for _, p := range r.o.due(begin, recordBatch) {
		r.calls = append(r.calls, call{p: p, last: r.o.of(tick, begin).last})
	}
}

// execute is the rule of gateway.lua.
func (w *world) execute(i int) {
	r := w.r[i]
	c := &r.calls[r.done]
	r.done++
	if n := len(w.records); n > 0 && recordAt(n) != c.last && w.records[n-1] != i {
		return
	}
	w.records = append(w.records, i)
	c.made = len(w.records)
	for _, r := range w.r {
		if r.alive {
			r.queue = append(r.queue, heardItem{record: c.made})
		}
	}
}

func (r *modelRecorder) answered() {
	for _, c := range r.calls {
		if c.made > 0 {
			r.o.settle(c.p, recordAt(c.made), begin)
		}
	}
	r.calls, r.done = nil, 0
}

// recount is recorder.recount.
func (r *modelRecorder) recount(w *world) {
	since := 1
	if len(r.o.waiting) > 0 {
		since = int(r.o.waiting[0].since.Seq)
	}
	for n := since; n <= len(w.records); n++ {
		r.o.found(tick, recordAt(n), begin)
	}
	r.o.counted(tick.channel)
}

// check returns what is wrong with a state.
func (w *world) check() string {
	if len(w.records) > w.published {
		return "a payload is recorded twice"
	}
	quiet := w.published == w.limit
	for _, r := range w.r {
		quiet = quiet && len(r.queue) == 0 && len(r.o.waiting) == 0 && r.calls == nil
	}
	if quiet && len(w.records) != w.published && (w.r[0].alive || w.r[1].alive) {
		return "a payload is not recorded"
	}
	return ""
}

// TestEachPayloadIsRecordedOnce tries every order of what two recorders hear,
// call and crash at.
func TestEachPayloadIsRecordedOnce(t *testing.T) {
	for _, tt := range []struct{ payloads, crashes, errors, misses int }{{3, 0, 0, 0}, {3, 1, 0, 0}, {2, 1, 1, 0}, {3, 0, 1, 0}, {3, 0, 0, 1}, {2, 0, 1, 2}} {
		t.Run(fmt.Sprintf("%d payloads, %d crashes, %d errors, %d misses", tt.payloads, tt.crashes, tt.errors, tt.misses), func(t *testing.T) {
			seen := make(map[string]bool)
			ends := 0
			var explore func(w *world, path []string) bool
			explore = func(w *world, path []string) bool {
				key := w.key()
				if seen[key] {
					return true
				}
				seen[key] = true
				moves := w.moves()
				if wrong := w.check(); wrong != "" {
					t.Errorf("%s:\n%s", wrong, strings.Join(path, "\n"))
					return false
				}
				if w.published == w.limit && len(w.records) == w.limit {
					ends++
				}
				for name, move := range moves {
					next := w.clone()
					move(next)
					if !explore(next, append(path[:len(path):len(path)], name)) {
						return false
					}
				}
				return true
			}
			explore(newWorld(tt.payloads, tt.crashes, tt.errors, tt.misses), nil)
			t.Logf("%d states, %d of them complete", len(seen), ends)
		})
	}
}

// Longer ones by chance, and always to an end: whatever happened, what waits
// gets recorded.
func TestManyPayloadsAreRecordedOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 1500 {
		w := newWorld(2+random.IntN(8), random.IntN(2), random.IntN(3), 0)
		var path []string
		for range 2000 {
			moves := w.moves()
			if wrong := w.check(); wrong != "" {
				t.Fatalf("%s:\n%s", wrong, strings.Join(path, "\n"))
			}
			names := make([]string, 0, len(moves))
			for name := range moves {
				names = append(names, name)
			}
			if len(names) == 0 {
				break
			}
			slices.Sort(names)
			name := names[random.IntN(len(names))]
			moves[name](w)
			path = append(path, name)
		}
		if len(w.records) != w.limit {
			t.Fatalf("%d of %d recorded after 2000 steps", len(w.records), w.limit)
		}
	}
}
