package channels

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var modelSequence = flag.String("model.sequence", "", "run TestEveryOrder with this sequence only, given as theme:steps")

// theme is a small world and what may happen in it. Every sequence of its steps
// up to a length is tried.
type theme struct {
	name     string
	size     int // of the history
	replicas int
	clients  []int // the replica of each
	begin    string
	steps    string
	depth    int
	short    int           // depth with -short or -race
	pending  int           // how many announcements may wait; zero as in production
	budget   int64         // of the logs; zero as in production
	window   time.Duration // of a conflation in which nothing has a key: all comes, but later
}

var themes = []theme{
	{name: "join", size: 100, replicas: 1, clients: []int{0}, begin: "p", steps: "pxldDBCahHk", depth: 5, short: 4},
	{name: "loss", size: 100, replicas: 2, clients: []int{0, 1}, begin: "pp", steps: "pyNABVCW1mk", depth: 5, short: 4},
	{name: "trim", size: 100, replicas: 1, clients: []int{0}, begin: "ppp", steps: "pxtehHa1mk", depth: 5, short: 4},
	{name: "resume", size: 100, replicas: 2, clients: []int{0}, begin: "p", steps: "pxyNFmf1", depth: 5, short: 4},
	{name: "twice", size: 100, replicas: 2, clients: []int{0, 1}, begin: "pp", steps: "pqSTBVC1mf", depth: 4, short: 3},
	// A replica was cut off, and reads what it may have missed.
	{name: "fill", size: 100, replicas: 2, clients: []int{0, 1}, begin: "pphBBC", steps: "puxlDaABCm", pending: 1, depth: 4, short: 3},
	// Logs keep nothing, or one event, for there is no memory.
	{name: "no logs, join", size: 100, replicas: 1, clients: []int{0}, begin: "p", steps: "pxldDBCahHk", depth: 4, short: 3, budget: 1},
	{name: "no logs, loss", size: 100, replicas: 2, clients: []int{0, 1}, begin: "pp", steps: "pyNABVCW1mk", depth: 4, short: 3, budget: 1},
	{name: "no logs, resume", size: 100, replicas: 2, clients: []int{0}, begin: "p", steps: "pxyNmf1", depth: 5, short: 4, budget: 1},
	{name: "no logs, twice", size: 100, replicas: 2, clients: []int{0, 1}, begin: "pp", steps: "pqSTBVC1mf", depth: 4, short: 3, budget: 1},
	{name: "short logs, twice", size: 100, replicas: 2, clients: []int{0, 1}, begin: "pp", steps: "pqSTBVC1mf", depth: 4, short: 3, budget: 200},
	{name: "held join", size: 100, replicas: 1, clients: []int{0}, begin: "p", steps: "pxldDBCahHk", window: 50 * time.Millisecond, depth: 4, short: 3},
	{name: "held loss", size: 100, replicas: 2, clients: []int{0, 1}, begin: "pp", steps: "pyNABVCW1mk", window: 50 * time.Millisecond, depth: 5, short: 4},
	{name: "held trim", size: 100, replicas: 1, clients: []int{0}, begin: "ppp", steps: "pxtehHa1mk", window: 50 * time.Millisecond, depth: 4, short: 3},
}

// A step of a sequence does something and reports whether it did.
var steps = map[byte]struct {
	word string
	do   func(w *world) bool
}{
	'p': {"publish", func(w *world) bool { w.publish("a", 10); return true }},
	'q': {"publish, elsewhere", func(w *world) bool { w.publish("a", 7); return true }},
	'x': {"publish, replica 0 does not hear it", func(w *world) bool { return w.unheard(0) }},
	'y': {"publish, replica 1 does not hear it", func(w *world) bool { return w.unheard(1) }},
	'u': {"publish, replica 0 cannot read what it hears", func(w *world) bool { return w.unreadable(0) }},
	'l': {"publish, replica 0 hears it late", func(w *world) bool { return w.late(0) }},
	'L': {"publish, replica 1 hears it late", func(w *world) bool { return w.late(1) }},
	'd': {"replica 0 hears the oldest late announcement", func(w *world) bool { return w.deliver(w.replicas[0], false) }},
	'D': {"replica 0 hears the newest late announcement, not for the last time", func(w *world) bool { return w.deliver(w.replicas[0], true) }},
	'B': {"replica 0 is cut off, or back", func(w *world) bool { return w.cutOrRestore(0) }},
	'V': {"replica 1 is cut off, or back", func(w *world) bool { return w.cutOrRestore(1) }},
	'C': {"replica 0 is confirmed", func(w *world) bool { return w.confirm(0) }},
	'W': {"replica 1 is confirmed", func(w *world) bool { return w.confirm(1) }},
	'h': {"calls are held before their answers", func(w *world) bool { return w.hold(telling) }},
	'H': {"calls are held before they look", func(w *world) bool { return w.hold(looking) }},
	'a': {"the oldest held call goes on", func(w *world) bool { return w.s.release() }},
	'A': {"no call is held any more", func(w *world) bool { return w.answerAll() }},
	't': {"trim to one event", func(w *world) bool { return w.trim("a", 1) }},
	'e': {"replica 0 forgets all but the newest event", func(w *world) bool { return w.evict(0) }},
	'N': {"Redis loses one, its clock goes on", func(w *world) bool { return w.loseThen("a", 1, time.Millisecond) }},
	'M': {"Redis loses two, its clock goes on", func(w *world) bool { return w.loseThen("a", 2, time.Millisecond) }},
	'S': {"Redis loses one, and gives its position again", func(w *world) bool { return w.lose("a", 1) }},
	'T': {"Redis loses two, and gives their positions again", func(w *world) bool { return w.lose("a", 2) }},
	'F': {"FLUSHALL", func(w *world) bool { defer time.Sleep(time.Millisecond); return w.flush() }},
	'0': {"client 0 reads one", func(w *world) bool { return w.clients[0].read(1) > 0 }},
	'1': {"the clients read all", func(w *world) bool { return w.readAll() }},
	'm': {"client 0 moves to the next replica", func(w *world) bool { w.clients[0].move((w.clients[0].on + 1) % len(w.replicas)); return true }},
	'f': {"client 0 moves to a new replica", func(w *world) bool { return w.fresh(false) }},
	'g': {"client 0 moves to a new replica that waits to be confirmed", func(w *world) bool { return w.fresh(true) }},
	'G': {"the new replica is confirmed", func(w *world) bool { return w.confirm(len(w.replicas) - 1) }},
	'k': {"time passes", func(w *world) bool { time.Sleep(1300 * time.Millisecond); return true }},
}

func (w *world) unheard(i int) bool {
	if !w.listens(i) {
		return false
	}
	w.replicas[i].drop = 1
	w.publish("a", 10)
	return true
}

// unreadable has an announcement arrive of which the replica can tell no more
// than that there was one.
func (w *world) unreadable(i int) bool {
	if !w.unheard(i) {
		return false
	}
	r := w.replicas[i]
	w.s.mu.Lock()
	delete(r.missed, "a")
	w.s.mu.Unlock()
	r.memory.hub.Unclear("a")
	return true
}

func (w *world) late(i int) bool {
	if !w.listens(i) {
		return false
	}
	w.replicas[i].delay = 1
	w.publish("a", 10)
	return true
}

func (w *world) listens(i int) bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return !w.replicas[i].down && w.replicas[i].confirmed["a"]
}

func (w *world) cutOrRestore(i int) bool {
	r := w.replicas[i]
	if r.Ready() {
		r.cut()
	} else {
		r.restore()
	}
	return true
}

func (w *world) confirm(i int) bool {
	r := w.replicas[i]
	w.s.mu.Lock()
	waits := !r.down && r.unhurried
	w.s.mu.Unlock()
	if waits {
		r.confirmAll()
	}
	return waits
}

func (w *world) hold(at moment) bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.s.hold == at {
		return false
	}
	w.s.hold = at
	return true
}

func (w *world) answerAll() bool {
	w.s.mu.Lock()
	held := w.s.hold != never || len(w.s.held) > 0
	w.s.hold = never
	w.s.mu.Unlock()
	for w.s.release() {
		synctest.Wait()
	}
	return held
}

// evict shortens the log as many more events would.
func (w *world) evict(i int) bool {
	t := w.replicas[i].memory.hub.topic("a")
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.log.entries)
	t.evict(1)
	return len(t.log.entries) < n
}

func (w *world) loseThen(name string, n int, clock time.Duration) bool {
	if !w.lose(name, n) {
		return false
	}
	time.Sleep(clock)
	return true
}

func (w *world) readAll() bool {
	n := 0
	for _, c := range w.clients {
		n += c.read(100)
	}
	return n > 0
}

func (w *world) fresh(unhurried bool) bool {
	if len(w.replicas) > 2 {
		return false
	}
	w.addReplica().unhurried = unhurried
	w.clients[0].move(len(w.replicas) - 1)
	return true
}

// run runs one sequence. It reports how many steps were taken before the first
// that does nothing, and what is wrong in the end.
func (th *theme) run(t *testing.T, sequence string) (taken int, problems []string) {
	synctest.Test(t, func(t *testing.T) {
		policy := Policy{HistorySize: th.size, HistoryTTL: time.Hour, BufferSize: 1, OnFull: CatchUp}
		if th.window > 0 {
			policy.Conflate = Conflate{By: "id", Window: th.window}
		}
		w := newWorld(t, policy, "a")
		w.pending, w.budget = th.pending, th.budget
		for range th.replicas {
			w.addReplica()
		}
		for _, on := range th.clients {
			w.addClient(on)
		}
		for i := range th.begin {
			steps[th.begin[i]].do(w)
			synctest.Wait()
		}
		w.readAll()
		for taken < len(sequence) && steps[sequence[taken]].do(w) {
			synctest.Wait()
			taken++
		}
		if problems = w.finish(); problems != nil {
			problems = append(problems, w.describe()...)
		}
	})
	return taken, problems
}

// TestEveryOrder tries all sequences of what may happen in small worlds, and
// proves after each of every client what it was given.
func TestEveryOrder(t *testing.T) {
	only, sequence, _ := strings.Cut(*modelSequence, ":")
	for _, th := range themes {
		if only != "" && only != th.name {
			continue
		}
		t.Run(th.name, func(t *testing.T) {
			if only != "" {
				_, problems := th.run(t, sequence)
				th.report(t, sequence, problems)
				return
			}
			t.Parallel()
			depth := th.depth
			if testing.Short() || quick {
				depth = th.short
			}
			total, level := 0, []string{""}
			for range depth {
				var next []string
				for _, prefix := range level {
					for i := range len(th.steps) {
						sequence := prefix + th.steps[i:i+1]
						taken, problems := th.run(t, sequence)
						if total++; problems != nil {
							th.report(t, sequence, problems)
							t.Fatalf("again with: go test -run TestEveryOrder ./pkg/channels -model.sequence=%s:%s", th.name, sequence)
						}
						if taken == len(sequence) {
							next = append(next, sequence)
						}
					}
				}
				level = next
			}
			t.Logf("%d sequences, of which %d have %d steps", total, len(level), depth)
		})
	}
}

// report says in words what is wrong with a sequence.
func (th *theme) report(t *testing.T, sequence string, problems []string) {
	if problems == nil {
		return
	}
	var b strings.Builder
	for i := range len(th.begin) + len(sequence) {
		fmt.Fprintf(&b, "\n  %s", steps[(th.begin + sequence)[i]].word)
	}
	t.Errorf("%s:%s%s\n%s", th.name, sequence, b.String(), strings.Join(problems, "\n"))
}
