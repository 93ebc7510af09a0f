package redisbus

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// shards is the links to all masters of a Cluster that own slots, and hears
// each name from the owner of its slot. It has the face of a link: anyone may
// change what is wanted; one goroutine, run's, decides which link hears it.
//
// A slot that is being migrated is as good as deaf: a key that is there already
// is published to by redirection, at a node where nobody can subscribe yet. So
// its names are confirmed again and again, which has their streams read, until
// the slot is assigned.
type shards struct {
	watch   *watcher
	options func(addr string) *redis.Options
	link    linkOptions // what is the same for all
	probe   func(id string) string
	to      listener
	kick    chan struct{}
	running sync.WaitGroup

	// Owned by run.
	names map[topicName]*shard // who hears it; nil while its slot has no owner
	slots map[int]map[topicName]bool

	mu     sync.Mutex
	wanted map[topicName]bool // changes that run has not seen
	dirty  []topicName        // of them, in order
	links  map[string]*shard  // by the master's id; changed by run alone
	topo   *topology          // what run has applied
}

// shard is a link to one master, and the gate before the listener: it is open
// only for names that this link is the one to hear.
type shard struct {
	id   string
	addr string // owned by shards.run
	link *link
	stop context.CancelFunc
	to   listener

	mu    sync.Mutex
	names map[topicName]bool // those routed to this link, and whether confirmed
}

func newShards(w *watcher, options func(string) *redis.Options, link linkOptions, probe func(string) string, to listener) *shards {
	return &shards{
		watch: w, options: options, link: link, probe: probe, to: to, kick: make(chan struct{}, 1),
		names: make(map[topicName]*shard), slots: make(map[int]map[topicName]bool),
		wanted: make(map[topicName]bool), links: make(map[string]*shard),
	}
}

// want asks for names, in this order.
func (s *shards) want(names ...topicName) { s.set(true, names) }

// unwant takes want back.
func (s *shards) unwant(names ...topicName) { s.set(false, names) }

func (s *shards) set(wanted bool, names []topicName) {
	s.mu.Lock()
	for _, n := range names {
		if _, queued := s.wanted[n]; !queued {
			s.dirty = append(s.dirty, n)
		}
		s.wanted[n] = wanted
	}
	s.mu.Unlock()
	notify(s.kick)
}

// run keeps the links up until ctx ends. It is kicked when the topology has
// changed.
func (s *shards) run(ctx context.Context) {
	defer s.running.Wait()
	moving := time.NewTicker(movingInterval)
	defer moving.Stop()
	for {
		select {
		case <-s.kick:
			s.follow(ctx)
			s.apply()
		case <-moving.C:
			if s.topo != nil {
				s.reread(s.topo.moving)
			}
		case <-ctx.Done():
			return
		}
	}
}

// apply gives names to the links of their slots' owners.
func (s *shards) apply() {
	s.mu.Lock()
	dirty, wanted := s.dirty, s.wanted
	s.dirty, s.wanted = nil, make(map[topicName]bool)
	s.mu.Unlock()
	want, unwant := make(map[*shard][]topicName), make(map[*shard][]topicName)
	for _, n := range dirty {
		slot := slotOf(n.text)
		at, known := s.names[n]
		if wanted[n] {
			if !known {
				at = s.ownerOf(slot)
				s.names[n] = at
				if s.slots[slot] == nil {
					s.slots[slot] = make(map[topicName]bool)
				}
				s.slots[slot][n] = true
			}
			want[at] = append(want[at], n)
			continue
		}
		if known {
			delete(s.names, n)
			delete(s.slots[slot], n)
			if len(s.slots[slot]) == 0 {
				delete(s.slots, slot)
			}
			unwant[at] = append(unwant[at], n)
		}
	}
	for at, names := range unwant {
		at.leave(names, false)
	}
	for at, names := range want {
		at.take(names)
	}
}

func (s *shards) ownerOf(slot int) *shard {
	if s.topo == nil || s.topo.owner[slot] == nil {
		return nil
	}
	return s.links[s.topo.owner[slot].id]
}

// follow makes the links and the ways of names fit the latest topology.
func (s *shards) follow(ctx context.Context) {
	t, before := s.watch.latest.Load(), s.topo
	if t == nil || t == before {
		return
	}
	links := maps.Clone(s.links)
	for id, m := range t.masters {
		switch sh := links[id]; {
		case m.slots == 0:
		case sh == nil:
			links[id] = s.start(ctx, m)
		case sh.addr != m.addr:
			sh.addr = m.addr
			sh.link.end(errMoved)
		}
	}
	var gone []*shard
	for id, sh := range links {
		if m := t.masters[id]; m == nil || m.slots == 0 {
			gone = append(gone, sh)
			delete(links, id)
		}
	}
	s.mu.Lock()
	s.topo, s.links = t, links
	s.mu.Unlock()

	leave, take := make(map[*shard][]topicName), make(map[*shard][]topicName)
	for slot, names := range s.slots {
		to := s.ownerOf(slot)
		for n := range names {
			if from := s.names[n]; from != to {
				leave[from] = append(leave[from], n)
				s.names[n] = to
			}
		}
	}
	for from, names := range leave {
		// The most recently heard first.
		if from != nil {
			names = from.link.names.byHeat(names)
		}
		from.leave(names, true)
		for _, n := range names {
			take[s.names[n]] = append(take[s.names[n]], n)
		}
	}
	for to, names := range take {
		to.take(names)
	}
	for _, sh := range gone {
		if sh.link.up.Load() && sh.link.lost != nil {
			sh.link.lost(LinkMoved)
		}
		sh.stop()
	}
	if before != nil {
		// Migrations that are over, or were taken back: what was published while
		// they ended has been announced to nobody.
		over := make(map[int]bool)
		for slot := range before.moving {
			if !t.moving[slot] {
				over[slot] = true
			}
		}
		s.reread(over)
	}
	s.link.changed(nil)
}

// reread has the streams of these slots read by who hears them.
func (s *shards) reread(slots map[int]bool) {
	for slot := range slots {
		for n := range s.slots[slot] {
			s.names[n].again(n)
		}
	}
}

// start begins a link to a master.
func (s *shards) start(ctx context.Context, m *master) *shard {
	ctx, stop := context.WithCancel(ctx)
	sh := &shard{id: m.id, addr: m.addr, stop: stop, to: s.to, names: make(map[topicName]bool)}
	o := s.link
	base := s.probe(rand.Text())
	o.probe = func() (string, error) { return s.probeOf(m.id, base) }
	o.node = func(context.Context) (*redis.Options, error) {
		if m := s.watch.latest.Load().masters[m.id]; m != nil {
			return s.options(m.addr), nil
		}
		return nil, errMoved
	}
	sh.link = newLink(o, sh)
	s.running.Go(func() { sh.link.run(ctx) })
	return sh
}

// probeOf finds a name that hashes into a slot which the master owns, and that
// is not going to leave it.
func (s *shards) probeOf(id, base string) (string, error) {
	t := s.watch.latest.Load()
	fallback := ""
	// Of a master with a single slot one name in 16384 fits.
	for i := range 20 * slotCount {
		name := base + ":" + strconv.Itoa(i)
		if slot := slotOf(name); t.owns(id, slot) {
			if !t.moving[slot] {
				return name, nil
			}
			fallback = name
		}
	}
	if fallback != "" {
		return fallback, nil
	}
	return "", fmt.Errorf("the master owns no slot: %w", errMoved)
}

// state tells of every master that owns slots what is wrong with its link, and
// counts the links that are up.
func (s *shards) state(now time.Time) (troubles map[string]error, up int) {
	s.mu.Lock()
	t, links := s.topo, s.links
	s.mu.Unlock()
	troubles = make(map[string]error)
	if t == nil {
		troubles["cluster"] = s.watch.trouble()
		return troubles, 0
	}
	if err := t.incomplete(); err != nil {
		troubles["cluster"] = err
	}
	for _, id := range slices.Sorted(maps.Keys(links)) {
		err := links[id].link.trouble(now)
		if links[id].link.up.Load() {
			up++
		}
		troubles["master "+t.masters[id].addr] = err
	}
	return troubles, up
}

// count returns how many links are up, and how many there are.
func (s *shards) count() (up, all int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range s.links {
		if all++; sh.link.up.Load() {
			up++
		}
	}
	return up, all
}

// take has the link hear these names.
func (sh *shard) take(names []topicName) {
	if sh == nil {
		return
	}
	sh.mu.Lock()
	for _, n := range names {
		if !sh.names[n] {
			sh.names[n] = false
		}
	}
	sh.mu.Unlock()
	sh.link.want(names...)
}

// leave has the link not hear these names any more, and tells the listener if
// it still wants them.
func (sh *shard) leave(names []topicName, wanted bool) {
	if sh == nil {
		return
	}
	sh.mu.Lock()
	var deaf []topicName
	for _, n := range names {
		if sh.names[n] {
			deaf = append(deaf, n)
		}
		delete(sh.names, n)
	}
	if wanted && len(deaf) > 0 {
		sh.to.deaf(deaf)
	}
	sh.mu.Unlock()
	sh.link.unwant(names...)
}

// again confirms what is confirmed once more.
func (sh *shard) again(n topicName) {
	if sh == nil {
		return
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.names[n] {
		sh.to.confirmed(n)
	}
}

// confirmed implements listener.
func (sh *shard) confirmed(n topicName) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, routed := sh.names[n]; routed {
		sh.names[n] = true
		sh.to.confirmed(n)
	}
}

// message implements listener. The lock is held so that nothing comes after
// deaf; nobody waits for it who holds the listener's locks.
func (sh *shard) message(pattern, name, text string) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.names[topicName{text: name}] {
		sh.to.message(pattern, name, text)
	}
}

// deaf implements listener.
func (sh *shard) deaf(names []topicName) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var deaf []topicName
	for _, n := range names {
		if sh.names[n] {
			sh.names[n] = false
			deaf = append(deaf, n)
		}
	}
	if len(deaf) > 0 {
		sh.to.deaf(deaf)
	}
}
