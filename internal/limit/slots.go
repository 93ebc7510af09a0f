package limit

import (
	"maps"
	"sync"
)

// Slots bounds how many connections a key has at a time. It costs memory only
// for keys that have some.
type Slots struct {
	max int

	mu    sync.Mutex
	slots map[Key]*Slot
	peak  int // how many keys the map has had room for
}

// Slot is what the connections of one key share. Whoever has taken it has to
// release it once.
type Slot struct {
	of    *Slots
	key   Key
	taken int
}

// NewSlots returns slots of which each key has max, which is at least one.
func NewSlots(max int) *Slots {
	return &Slots{max: max, slots: make(map[Key]*Slot)}
}

// Take takes a slot, or reports that the key has all of its own.
func (s *Slots) Take(k Key) (*Slot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.slots[k]
	if slot == nil {
		slot = &Slot{of: s, key: k}
		s.slots[k] = slot
		s.peak = max(s.peak, len(s.slots))
	}
	if slot.taken >= s.max {
		return nil, false
	}
	slot.taken++
	return slot, true
}

// shrinkFrom is how many keys a map must have had to be worth making anew.
const shrinkFrom = 1024

// Release gives the slot back.
func (t *Slot) Release() {
	s := t.of
	s.mu.Lock()
	defer s.mu.Unlock()
	t.taken--
	if t.taken > 0 {
		return
	}
	delete(s.slots, t.key)
	// Maps do not shrink by themselves.
	if s.peak >= shrinkFrom && len(s.slots) <= s.peak/8 {
		s.slots, s.peak = maps.Collect(maps.All(s.slots)), len(s.slots)
	}
}
