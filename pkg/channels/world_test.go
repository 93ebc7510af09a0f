package channels

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// world is a store, replicas over it and clients on them, and remembers what
// happened, so that it can be proved of every client what it was given.
type world struct {
	t        *testing.T
	s        *store
	policy   Policy
	names    []string
	replicas []*replica
	clients  []*walker
	pending  int   // of the replicas, how many announcements may wait; zero as in production
	budget   int64 // of the replicas' logs; zero as in production

	mu    sync.Mutex // guards facts' known: replicas encode when they like
	truth map[string]*truth
}

// truth is what happened on one channel.
type truth struct {
	facts   []*fact  // of the events by number, from 1 on
	top     Position // the highest that an event ever had
	losses  int      // how often Redis lost something
	records int      // how many records of losses are lost
	trims   int
	flushes int
}

// fact is what became of one event.
type fact struct {
	Position
	behind  bool // at a position at or before one that was given out earlier
	twin    bool // at the same position as another
	lost    bool // by Redis
	trimmed bool
	known   bool // to some replica
	given   bool // to some client
}

func newWorld(t *testing.T, policy Policy, names ...string) *world {
	w := &world{t: t, s: newStore(policy.HistorySize, policy.HistoryTTL), policy: policy, names: names, truth: make(map[string]*truth)}
	for _, name := range names {
		w.truth[name] = &truth{facts: []*fact{nil}}
	}
	return w
}

func (w *world) addReplica() *replica {
	r := w.s.replica(w.t, policies(w.t, w.policy), func(o *Options) {
		o.Logger = slog.New(slog.DiscardHandler)
		o.LogBytes = w.budget
		o.Encode = func(channel string, e *Event) Encoded {
			w.mu.Lock()
			defer w.mu.Unlock()
			n, _ := strconv.Atoi(e.Payload)
			w.truth[channel].facts[n].known = true
			return encodePayload(channel, e)
		}
	})
	if w.pending > 0 {
		r.memory.hub.pending = w.pending
	}
	w.replicas = append(w.replicas, r)
	return r
}

// publish appends an event, step behind the top where Redis' clock has not
// gone on since.
func (w *world) publish(name string, step uint64) {
	tr := w.truth[name]
	f := &fact{}
	w.mu.Lock()
	tr.facts = append(tr.facts, f)
	n := len(tr.facts) - 1
	w.mu.Unlock()
	w.s.publish(name, strconv.Itoa(n), func(e *Event) {
		if e.Position.Millis == e.Prev.Millis {
			e.Position.Seq = e.Prev.Seq + step
		}
		f.Position = e.Position
		f.behind = !tr.top.Less(e.Position)
		tr.top = highest(tr.top, e.Position)
		for _, other := range tr.facts[1:n] {
			if other.Position == f.Position {
				f.twin, other.twin = true, true
			}
		}
	})
	w.sweep(name, false)
}

// sweep notes what the store does not have any more.
func (w *world) sweep(name string, lost bool) (n int) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	there := make(map[string]bool)
	if st := w.s.streams[name]; st != nil {
		for _, e := range st.entries {
			there[e.Payload] = true
		}
	}
	for i, f := range w.truth[name].facts {
		if f == nil || f.lost || f.trimmed || there[strconv.Itoa(i)] {
			continue
		}
		n++
		if lost {
			f.lost = true
		} else {
			f.trimmed = true
			w.truth[name].trims++
		}
	}
	return n
}

// look notes which events replicas know by their position alone.
func (w *world) look(name string) {
	for _, r := range w.replicas {
		t := r.memory.hub.topic(name)
		if t == nil {
			continue
		}
		t.mu.Lock()
		start, end := t.log.start, t.log.end
		t.mu.Unlock()
		w.mu.Lock()
		for _, f := range w.truth[name].facts[1:] {
			f.known = f.known || f.Position == start || f.Position == end
		}
		w.mu.Unlock()
	}
}

// lose takes the newest n entries away, and reports whether there were any.
func (w *world) lose(name string, n int) bool {
	w.look(name)
	w.sweep(name, false)
	before, records := w.entries(name)
	w.s.lose(name, n)
	w.sweep(name, true)
	if before == 0 {
		return false
	}
	_, left := w.entries(name)
	w.truth[name].losses++
	w.truth[name].records += records - left
	return true
}

func (w *world) entries(name string) (all, records int) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	list := w.s.stream(name).entries
	for _, e := range list {
		if e.Lost != nil {
			records++
		}
	}
	return len(list), records
}

func (w *world) flush() bool {
	any := false
	for _, name := range w.names {
		w.sweep(name, false)
		any = any || !w.s.streams[name].isEmpty()
		_, records := w.entries(name)
		w.truth[name].records += records
	}
	w.s.flush()
	for _, name := range w.names {
		w.sweep(name, true)
		w.truth[name].losses++
		w.truth[name].flushes++
	}
	return any
}

func (st *stream) isEmpty() bool { return st == nil || st.top.IsZero() }

func (w *world) trim(name string, n int) bool {
	w.s.trim(name, n)
	return w.sweep(name, false) > 0
}

// deliver hands over an announcement that is late: the oldest, or the newest,
// which may come again.
func (w *world) deliver(r *replica, newest bool) bool {
	w.s.mu.Lock()
	if len(r.late) == 0 {
		w.s.mu.Unlock()
		return false
	}
	a := r.late[0]
	if newest {
		a = r.late[len(r.late)-1]
	} else {
		r.late = r.late[1:]
	}
	w.s.mu.Unlock()
	w.s.heard(r.memory, a.channel, a.event)
	return true
}

// walker is a client that goes from replica to replica.
type walker struct {
	w      *world
	on     int // replica
	sub    *Subscriber
	bell   bell
	cursor string
	conn   int
	traces map[string]*trace
	gone   map[*fact]bool // when the client came, its replica knew that these are lost
}

// trace is all that a client was given of one channel.
type trace struct {
	start int // number of the last event before it began
	pos   Position
	steps []given
}

// given is an event, by its number, or a gap.
type given struct {
	conn int
	n    int
	gone bool // the replica knew that it was lost when the client came
	gap  *Gap
	from Position // where the client stood before
	at   Position // where it stands after
}

func (w *world) addClient(on int) *walker {
	c := &walker{w: w, on: on, bell: make(bell, 1), traces: make(map[string]*trace)}
	var requests []Request
	for _, name := range w.names {
		requests = append(requests, Request{Channel: name})
		c.traces[name] = &trace{start: len(w.truth[name].facts) - 1}
	}
	c.subscribe(requests)
	synctest.Wait()
	if !c.begun() {
		w.t.Fatal("a client does not begin on a replica without faults")
	}
	for i, name := range w.names {
		c.traces[name].pos, _ = c.sub.Started(i)
	}
	w.clients = append(w.clients, c)
	return c
}

func (c *walker) subscribe(requests []Request) {
	var err error
	if c.sub, err = c.w.replicas[c.on].memory.hub.Subscribe(c.bell, requests); err != nil {
		c.w.t.Fatalf("subscribe: %v", err)
	}
}

// begun tells whether the client has been given its first cursor.
func (c *walker) begun() bool {
	if !c.sub.Begun(time.Now()) {
		return false
	}
	c.cursor = string(c.sub.AppendCursor(nil))
	return true
}

// move reconnects, as a client does that sends back its last cursor.
func (c *walker) move(to int) {
	c.sub.Close()
	c.on = to
	c.conn++
	c.gone = c.w.knownLost(to)
	cursor, err := ParseCursor(c.cursor)
	if err != nil {
		c.w.t.Fatalf("cursor: %v", err)
	}
	var requests []Request
	for _, name := range c.w.names {
		p, ok := cursor.Position(name)
		if !ok {
			c.w.t.Fatalf("the cursor does not know %q", name)
		}
		requests = append(requests, Request{Channel: name, Start: Start{Resume: &p}})
	}
	c.subscribe(requests)
}

// taken is what Take gives to who has one channel, as deliveries.
func (c *walker) taken() (list []Delivery) {
	if !c.sub.Shared() {
		return nil
	}
	sub := c.sub.subs[0]
	sub.topic.mu.Lock()
	index := sub.index
	sub.topic.mu.Unlock()
	frames, events, _ := c.sub.Take(time.Now(), 100)
	sub.topic.mu.Lock()
	defer sub.topic.mu.Unlock()
	for i := range int64(events) {
		e := sub.topic.log.at(index + i)
		list = append(list, Delivery{Entry: e})
		var ok bool
		if frames, ok = bytes.CutPrefix(frames, e.Encoded.Frame); !ok {
			c.w.t.Fatalf("taken was %q, want %q", frames, e.Encoded.Frame)
		}
	}
	if len(frames) > 0 {
		c.w.t.Fatalf("taken was also %q", frames)
	}
	return list
}

// read takes what is ready, and returns how much that was.
func (c *walker) read(limit int) int {
	if !c.begun() {
		return 0
	}
	deliveries := c.taken()
	deliveries, err := c.sub.Next(time.Now(), deliveries, max(limit-len(deliveries), 1), 1<<20)
	if err != nil {
		c.w.t.Fatalf("next: %v", err)
	}
	for i := range deliveries {
		d := &deliveries[i]
		name := c.sub.Channel(d.Channel)
		c.sub.Advance(d)
		c.cursor = string(c.sub.AppendCursor(nil))
		cursor, err := ParseCursor(c.cursor)
		if err != nil {
			c.w.t.Fatalf("cursor: %v", err)
		}
		tr := c.traces[name]
		g := given{conn: c.conn, gap: d.Gap, from: tr.pos}
		g.at, _ = cursor.Position(name)
		tr.pos = g.at
		if d.Gap == nil {
			g.n, _ = strconv.Atoi(d.Entry.Encoded.payload())
			c.w.mu.Lock()
			f := c.w.truth[name].facts[g.n]
			f.given, g.gone = true, c.gone[f]
			c.w.mu.Unlock()
		}
		tr.steps = append(tr.steps, g)
	}
	return len(deliveries)
}

// mend ends all faults. What is late arrives.
func (w *world) mend() {
	w.s.mu.Lock()
	w.s.hold = never
	for _, b := range w.s.brokers {
		b.drop, b.delay = 0, 0
	}
	w.s.mu.Unlock()
	for w.s.release() {
		synctest.Wait()
	}
	for _, r := range w.replicas {
		w.s.mu.Lock()
		standing := !r.down && !r.unhurried
		w.s.mu.Unlock()
		if !standing {
			r.setDown(false)
		}
	}
	synctest.Wait()
	for _, r := range w.replicas {
		for w.deliver(r, false) {
			synctest.Wait()
		}
	}
}

// prompt mends the world and returns what is wrong before any replica has
// looked whether it has missed something: who can know of everything must have
// found out at once, and not by the check, which would hide it.
func (w *world) prompt() (problems []string) {
	w.setUnchecked(true)
	defer w.setUnchecked(false)
	w.mend()
	time.Sleep(maxFillDelay) // fills that have failed try again
	synctest.Wait()
	w.readToEnd()
	if w.missed() {
		return nil
	}
	for _, p := range w.prove() {
		problems = append(problems, "before any check: "+p)
	}
	return problems
}

func (w *world) setUnchecked(unchecked bool) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for _, r := range w.replicas {
		r.unchecked = unchecked
	}
}

// knownLost returns the events of which a replica must know that they are lost.
// A stream that was emptied and has begun again looks like one that was
// trimmed, and one that went on behind a position that was lost does not show
// from where on.
func (w *world) knownLost(on int) map[*fact]bool {
	gone, r := make(map[*fact]bool), w.replicas[on]
	for _, name := range w.names {
		t := r.memory.hub.topic(name)
		if t == nil {
			continue
		}
		w.s.mu.Lock()
		missed := r.missed[name]
		w.s.mu.Unlock()
		t.mu.Lock()
		unsure := missed || !t.joined || !t.heard || t.dirty || t.filling
		t.mu.Unlock()
		facts := w.truth[name].facts[1:]
		if unsure || w.truth[name].flushes > 0 || slices.ContainsFunc(facts, func(f *fact) bool { return f.behind }) {
			continue
		}
		for _, f := range facts {
			if f.lost {
				gone[f] = true
			}
		}
	}
	return gone
}

// missed tells whether something has happened that a replica cannot know of.
func (w *world) missed() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for _, r := range w.replicas {
		for name := range r.wanted {
			if r.missed[name] {
				return true
			}
		}
	}
	return false
}

// settle lets time pass, several checks of the tops, and every client read.
func (w *world) settle() {
	for range 2 {
		time.Sleep(4 * time.Second)
		synctest.Wait()
		w.readToEnd()
	}
}

func (w *world) readToEnd() {
	for idle := 0; idle < 3; idle++ { // each may have asked for a page
		for _, c := range w.clients {
			if c.read(100) > 0 {
				idle = -1
			}
		}
		synctest.Wait()
	}
	for _, name := range w.names {
		w.sweep(name, false)
	}
}

// finish mends the world, lets time pass, publishes one more event and returns
// what is wrong with what the clients were given.
func (w *world) finish() []string {
	if problems := w.prompt(); problems != nil {
		return problems
	}
	w.settle()
	problems := w.prove()
	for _, name := range w.names {
		w.publish(name, 10)
	}
	w.settle()
	if problems == nil {
		problems = w.prove()
	}
	for i, c := range w.clients {
		for _, name := range w.names {
			tr, last := c.traces[name], len(w.truth[name].facts)-1
			if n := len(tr.steps); n == 0 || tr.steps[n-1].n != last {
				problems = append(problems, fmt.Sprintf("client %d does not end with event %d of %q", i, last, name))
			}
		}
		c.sub.Close()
	}
	return problems
}

func (w *world) prove() (problems []string) {
	for i, c := range w.clients {
		for _, name := range w.names {
			for _, p := range prove(w.truth[name], c.traces[name]) {
				problems = append(problems, fmt.Sprintf("client %d, %q: %s", i, name, p))
			}
		}
	}
	return problems
}

// describe says what happened, for a failure.
func (w *world) describe() (lines []string) {
	for _, name := range w.names {
		for n, f := range w.truth[name].facts[1:] {
			lines = append(lines, fmt.Sprintf("%s %d at %v %s", name, n+1, short(f.Position), words(
				f.behind, "behind", f.lost, "lost", f.trimmed, "trimmed", f.known, "known", f.given, "given")))
		}
		if st := w.s.streams[name]; st != nil {
			line := name + " in the store:"
			for _, e := range st.entries {
				if e.Lost != nil {
					line += fmt.Sprintf(" %v:lost(%v,%v]", short(e.Position), short(e.Lost.After), short(e.Lost.Upto))
				} else {
					line += fmt.Sprintf(" %v:%s", short(e.Position), e.Payload)
				}
			}
			lines = append(lines, line)
		}
		for i, c := range w.clients {
			line := fmt.Sprintf("client %d was given", i)
			conn := 0
			for _, g := range c.traces[name].steps {
				if g.conn != conn {
					line, conn = line+" |", g.conn
				}
				if g.gap == nil {
					line += fmt.Sprint(" ", g.n)
				} else {
					line += fmt.Sprintf(" gap %s (%v,%v]@%v", g.gap.Reason, short(g.gap.From), short(g.gap.To), short(g.at))
				}
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// short writes a position of a bubble, whose time begins in 2000.
func short(p Position) string {
	if p.IsZero() {
		return "0"
	}
	return fmt.Sprintf("%d-%d", p.Millis-946684800000, p.Seq)
}

func words(pairs ...any) (list []string) {
	for pair := range slices.Chunk(pairs, 2) {
		if pair[0].(bool) {
			list = append(list, pair[1].(string))
		}
	}
	return list
}
