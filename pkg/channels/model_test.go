package channels

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	modelSeed   = flag.Uint64("model.seed", 0, "run TestModel with this seed only")
	modelLosses = flag.Bool("model.losses", false, "let Redis lose events in TestModel, too")
)

// TestModel plays random histories that are longer and wider than those of
// TestEveryOrder, and proves the same of every client. Losses by Redis are left
// to that test, unless asked for: where several overlap, with each other and with
// the loss of their own records, a client may be told too late or too little. In
// histories of three events about one in fifty shows it, in longer ones one in a
// thousand.
func TestModel(t *testing.T) {
	seeds := 1000
	if testing.Short() || quick {
		seeds = 100
	}
	if *modelSeed != 0 {
		t.Run(fmt.Sprint("seed ", *modelSeed), func(t *testing.T) { runModel(t, *modelSeed) })
		return
	}
	for range seeds {
		seed := rand.Uint64()
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runModel(t, seed) }) {
			t.Fatalf("again with: go test -run TestModel ./pkg/channels -model.seed=%d -model.losses=%v", seed, *modelLosses)
		}
	}
}

// model is one random history.
type model struct {
	*world
	rng   *rand.Rand
	did   []string
	moods mood
}

// mood is what kinds of faults a history has: some hide others.
type mood struct {
	drops bool // announcements are lost without anyone's noticing
	trims bool
	loses bool // Redis loses events
	twice bool // and gives their positions again
}

func runModel(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 1))
		policy := Policy{HistorySize: []int{3, 20, 400}[rng.IntN(3)], HistoryTTL: time.Hour, BufferSize: 8, OnFull: CatchUp}
		if rng.IntN(2) == 0 { // nothing has a key: all comes, a window later
			policy.Conflate = Conflate{By: "id", Window: time.Duration(1+rng.IntN(1000)) * time.Millisecond}
		}
		m := &model{world: newWorld(t, policy, "a", "b"), rng: rng}
		m.pending = []int{0, 1, 3}[rng.IntN(3)]
		m.budget = []int64{0, 0, 1, 400, 4000}[rng.IntN(5)]
		m.moods = mood{drops: m.maybe(2), trims: m.maybe(2), loses: *modelLosses && m.maybe(2)}
		m.moods.twice = m.moods.loses && !m.moods.drops && m.maybe(2)
		for range 2 {
			m.addReplica()
		}
		for range 4 {
			m.addClient(rng.IntN(2))
		}
		for range 40 + rng.IntN(160) {
			if did := m.step(); did != "" {
				m.did = append(m.did, did)
			}
			if m.maybe(3) {
				m.did = append(m.did, "settled")
				synctest.Wait()
			}
		}
		if problems := m.finish(); problems != nil {
			t.Errorf("%+v, history of %d, conflated %v\n%s\n%s\n%s", m.moods, policy.HistorySize, policy.Conflate,
				strings.Join(m.did, "\n"), strings.Join(problems, "\n"), strings.Join(m.describe(), "\n"))
		}
	})
}

// maybe is true once in n times.
func (m *model) maybe(n int) bool { return m.rng.IntN(n) == 0 }

// step does one thing and says what, or nothing where it could not.
func (m *model) step() string {
	on, name := m.rng.IntN(len(m.replicas)), m.names[m.rng.IntN(len(m.names))]
	r := m.replicas[on]
	client := m.rng.IntN(len(m.clients))
	c := m.clients[client]
	switch m.rng.IntN(20) {
	default:
		n := 1 + m.rng.IntN(6)
		for range n {
			m.publish(name, uint64(7+3*m.rng.IntN(2)))
		}
		return fmt.Sprintf("publish %d on %s", n, name)
	case 6:
		if !m.moods.drops {
			return ""
		}
		n := m.rng.IntN(4)
		m.s.mu.Lock()
		r.drop = n
		m.s.mu.Unlock()
		return fmt.Sprintf("replica %d misses %d", on, n)
	case 7:
		n := 1 + m.rng.IntN(2)
		m.s.mu.Lock()
		r.delay = n
		m.s.mu.Unlock()
		return fmt.Sprintf("replica %d hears %d late", on, n)
	case 8:
		if newest := m.maybe(2); m.deliver(r, newest) {
			return fmt.Sprintf("replica %d hears what is late, the newest: %v", on, newest)
		}
	case 9:
		if m.cutOrRestore(on) {
			return fmt.Sprintf("replica %d is cut off, or back", on)
		}
	case 10:
		if m.confirm(on) {
			return fmt.Sprintf("replica %d is confirmed", on)
		}
	case 11:
		if at := []moment{looking, telling}[m.rng.IntN(2)]; m.hold(at) {
			return fmt.Sprintf("calls are held at %d", at)
		}
	case 12:
		if m.s.release() {
			return "the oldest held call goes on"
		}
	case 13:
		if m.answerAll() {
			return "no call is held"
		}
	case 14:
		n := 1 + m.rng.IntN(10)
		return fmt.Sprintf("client %d reads %d", client, c.read(n))
	case 15:
		c.move(on)
		return fmt.Sprintf("client %d moves to replica %d", client, on)
	case 16:
		d := time.Duration(m.rng.IntN(1500)) * time.Millisecond
		time.Sleep(d)
		return fmt.Sprint("time passes: ", d)
	case 17:
		if n := 1 + m.rng.IntN(3); m.moods.trims && m.trim(name, n) {
			return fmt.Sprintf("trim %s to %d", name, n)
		}
	case 18:
		return m.loss(name)
	case 19:
		if len(m.replicas) < 4 && m.maybe(3) {
			m.addReplica()
			return "another replica"
		}
	}
	return ""
}

// loss has Redis lose something.
func (m *model) loss(name string) string {
	switch n := 1 + m.rng.IntN(3); {
	case !m.moods.loses:
	case m.maybe(4):
		defer time.Sleep(time.Millisecond)
		if m.flush() {
			return "FLUSHALL"
		}
	case m.moods.twice:
		if m.lose(name, n) {
			return fmt.Sprintf("Redis loses %d of %s, and gives their positions again", n, name)
		}
	case m.loseThen(name, n, time.Millisecond):
		return fmt.Sprintf("Redis loses %d of %s", n, name)
	}
	return ""
}
