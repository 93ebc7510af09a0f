package redisbus

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// subscriptions is what is wanted of a link and what its connection was told.
// Of each name at most one command is on its way; what changes meanwhile is
// applied when the answer has come. Safe for concurrent use.
type subscriptions struct {
	sharded bool
	own     func(name string) bool

	mu    sync.Mutex
	names map[topicName]*nameState
	dirty []topicName         // whose state has to be applied, in order
	later []topicName         // were refused, and are tried again later
	bars  []topicName         // were denied, and are tried again much later
	sent  []*subscribeCommand // not answered yet
	probe topicName
	lost  bool // the probe is not heard, and another one is needed
}

type nameState struct {
	wanted bool
	on     bool  // subscribed, by the server's last word
	busy   bool  // a command is on its way
	queued bool  // is in dirty, later or bars
	alone  bool  // was denied, perhaps for another's sake: gets a command of its own
	heard  int64 // when a message last came, in Unix nanoseconds
}

// subscribeCommand is a subscription or its end, of names of one kind and,
// where sharded, of one slot: "All the specified shard channels need to belong
// to a single slot" (documentation of SSUBSCRIBE).
type subscribeCommand struct {
	on      bool
	pattern bool
	slot    int
	names   []topicName
	next    int // of names, the one to be answered next
}

// subscribeBatch is how many names are applied at a time.
const subscribeBatch = 256

// outcome is what an answer of the server means.
type outcome int

const (
	nothingNew       outcome = iota
	nowHeard                 // a wanted name is heard from now on
	nowDeaf                  // a wanted name is heard no more, unasked
	probeHeard               // the probe is subscribed
	probeDeaf                // the probe is not heard any more
	changedMeanwhile         // something else is wanted by now
)

func newSubscriptions(sharded bool, own func(string) bool) *subscriptions {
	return &subscriptions{sharded: sharded, own: own, names: make(map[topicName]*nameState)}
}

func (s *subscriptions) set(wanted bool, names []topicName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range names {
		st := s.names[n]
		if st == nil {
			if !wanted {
				continue
			}
			st = &nameState{}
			s.names[n] = st
		}
		st.wanted = wanted
		s.queueLocked(n, st)
	}
}

func (s *subscriptions) queueLocked(n topicName, st *nameState) {
	if !st.queued {
		st.queued = true
		s.dirty = append(s.dirty, n)
	}
}

// startProbe returns the command that subscribes to the probe.
func (s *subscriptions) startProbe(n topicName) *subscribeCommand {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probe != n {
		if st := s.names[s.probe]; st != nil {
			st.wanted = false
			s.queueLocked(s.probe, st)
		}
		s.probe = n
	}
	s.lost = false
	s.names[n] = &nameState{wanted: true, busy: true}
	c := &subscribeCommand{on: true, slot: slotOf(n.text), names: []topicName{n}}
	s.sent = append(s.sent, c)
	return c
}

func (s *subscriptions) probeName() topicName {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probe
}

// touch notes that something came, and tells whether it was the probe.
func (s *subscriptions) touch(pattern, name string, now int64) (probe bool) {
	n := topicName{text: name}
	if pattern != "" {
		n = topicName{text: pattern, pattern: true}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.names[n]; st != nil {
		st.heard = now
	}
	return n == s.probe
}

// answered takes the server's word that a name is subscribed or no more.
func (s *subscriptions) answered(n topicName, on bool) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	expected := s.expectedLocked(n, on) || !s.sharded
	st := s.names[n]
	if st == nil {
		return nothingNew
	}
	was := st.on
	st.on = on
	if expected {
		st.busy = false
	}
	switch {
	case n == s.probe:
		if on {
			return probeHeard
		}
		s.lost = true
		return probeDeaf
	case st.busy:
		return nothingNew
	case on && st.wanted:
		return nowHeard
	case on:
		s.queueLocked(n, st)
		return changedMeanwhile
	case st.wanted && expected:
		s.queueLocked(n, st)
		return changedMeanwhile
	case st.wanted && was:
		s.laterLocked(n, st)
		return nowDeaf
	case !st.wanted && !st.queued:
		delete(s.names, n)
	}
	return nothingNew
}

// expectedLocked tells whether it is the answer to a command, and notes it. A
// server also says unasked that a name is subscribed no more, when its slot has
// moved, and nothing tells the two apart but the order: answers come in the
// order of commands. Where that is in doubt the name counts as lost and is
// subscribed again, which does no harm.
func (s *subscriptions) expectedLocked(n topicName, on bool) bool {
	for i, c := range s.sent {
		if c.on == on && c.names[c.next] == n {
			// What stands before it will not be answered any more.
			for _, skipped := range s.sent[:i] {
				s.failedLocked(skipped)
			}
			s.sent = s.sent[i:]
			if c.next++; c.next == len(c.names) {
				s.sent = s.sent[1:]
			}
			return true
		}
		if !on {
			return false
		}
	}
	return false
}

// refused notes that the oldest command was answered with an error. With a
// slot, the error is about that slot; if the command is not, then its answer
// was an unasked word on the same name, and the error is of no use any more.
func (s *subscriptions) refused(slot int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sent) == 0 || slot >= 0 && s.sent[0].slot != slot {
		return
	}
	s.failedLocked(s.sent[0])
	s.sent = s.sent[1:]
}

// denied notes that the oldest command was denied, for want of a right. Redis
// denies a command as a whole and does not say for which name, so each is asked
// for by itself then; one that was, is barred and returned. It is not possible
// where the command was about what the link needs itself: patterns, its probe,
// or an end.
func (s *subscriptions) denied() (barred string, possible bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sent) == 0 {
		return "", false
	}
	c := s.sent[0]
	if !c.on || c.pattern || c.names[0] == s.probe {
		return "", false
	}
	s.sent = s.sent[1:]
	for _, n := range c.names[c.next:] {
		st := s.names[n]
		if st == nil {
			continue
		}
		st.busy, st.alone = false, true
		switch {
		case len(c.names) > 1:
			s.queueLocked(n, st)
		case !st.queued:
			st.queued, barred = true, n.text
			s.bars = append(s.bars, n)
		}
	}
	return barred, true
}

// unbar has what was denied tried again: the right may have been given.
func (s *subscriptions) unbar() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = append(s.dirty, s.bars...)
	s.bars = nil
}

func (s *subscriptions) failedLocked(c *subscribeCommand) {
	for _, n := range c.names[c.next:] {
		st := s.names[n]
		if st == nil {
			continue
		}
		st.busy = false
		if n == s.probe {
			s.lost = true
			continue
		}
		s.laterLocked(n, st)
	}
}

func (s *subscriptions) laterLocked(n topicName, st *nameState) {
	if !st.queued {
		st.queued = true
		s.later = append(s.later, n)
	}
}

// retry has what was refused tried again, and tells whether the probe was.
func (s *subscriptions) retry() (probe bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = append(s.dirty, s.later...)
	s.later = nil
	return s.lost
}

// differences takes a batch of names whose wanted state is not the one the
// connection was told; standing are those wanted again that never left.
func (s *subscriptions) differences() (commands []*subscribeCommand, standing []topicName, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := min(len(s.dirty), subscribeBatch)
	type kind struct {
		on, pattern bool
		slot        int
	}
	open := make(map[kind]*subscribeCommand)
	for _, n := range s.dirty[:count] {
		st := s.names[n]
		if st == nil {
			continue
		}
		st.queued = false
		switch {
		case st.busy: // again when it is answered
		case st.wanted && st.on:
			standing = append(standing, n)
		case !st.wanted && !st.on:
			delete(s.names, n)
		default:
			st.busy = true
			k := kind{on: st.wanted, pattern: n.pattern}
			if s.sharded {
				k.slot = slotOf(n.text)
			}
			c := open[k]
			if c == nil || st.alone {
				c = &subscribeCommand{on: k.on, pattern: k.pattern, slot: k.slot}
				commands = append(commands, c)
			}
			if !st.alone {
				open[k] = c
			}
			c.names = append(c.names, n)
		}
	}
	s.dirty = s.dirty[count:]
	// Ends first, plain names before patterns.
	slices.SortStableFunc(commands, func(a, b *subscribeCommand) int {
		return cmp.Or(order(a.on, b.on), order(a.pattern, b.pattern))
	})
	s.sent = append(s.sent, commands...)
	return commands, standing, len(s.dirty) > 0
}

func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// forget notes that nothing is subscribed any more, and returns what was
// wanted. It is subscribed again in the order in which it was last heard, the
// most recent first.
func (s *subscriptions) forget() []topicName {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, s.probe)
	s.probe, s.lost, s.sent = topicName{}, false, nil
	for n, st := range s.names {
		if !st.wanted {
			delete(s.names, n)
			continue
		}
		*st = nameState{wanted: true, heard: st.heard, alone: st.alone}
	}
	wanted := s.byHeatLocked(func(yield func(topicName) bool) {
		for n := range s.names {
			if !yield(n) {
				return
			}
		}
	})
	s.dirty, s.later, s.bars = nil, nil, nil
	for _, n := range wanted {
		s.queueLocked(n, s.names[n])
	}
	return wanted
}

// byHeat sorts names by when they were last heard, the most recent first.
func (s *subscriptions) byHeat(names []topicName) []topicName {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byHeatLocked(slices.Values(names))
}

func (s *subscriptions) byHeatLocked(names func(func(topicName) bool)) []topicName {
	type entry struct {
		n    topicName
		heat int64
		own  bool
	}
	var list []entry
	// A channel is as hot as the hotter one of its bare name and its stream's,
	// of which the bare name must be subscribed first.
	streams := make(map[string]int64)
	for n := range names {
		e := entry{n: n, own: s.own(n.text)}
		if st := s.names[n]; st != nil {
			e.heat = st.heard
		}
		if e.own {
			_, channel, _ := strings.Cut(n.text, ":")
			streams[channel] = e.heat
		}
		list = append(list, e)
	}
	bare := make(map[string]int64)
	for i := range list {
		if e := &list[i]; !e.own {
			e.heat = max(e.heat, streams[e.n.text])
			bare[e.n.text] = e.heat
		}
	}
	for i := range list {
		if e := &list[i]; e.own {
			_, channel, _ := strings.Cut(e.n.text, ":")
			e.heat = max(e.heat, bare[channel])
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Or(cmp.Compare(b.heat, a.heat), order(a.own, b.own)) })
	sorted := make([]topicName, len(list))
	for i, e := range list {
		sorted[i] = e.n
	}
	return sorted
}

// movedSlot reads the slot of a MOVED error, -1 where there is none.
func movedSlot(err error) int {
	f := strings.Fields(err.Error())
	if len(f) < 2 {
		return -1
	}
	slot, convErr := strconv.Atoi(f[1])
	if convErr != nil {
		return -1
	}
	return slot
}
