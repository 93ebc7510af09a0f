package limit

import (
	"sync"
	"testing"
)

func TestSlots(t *testing.T) {
	s := NewSlots(2)
	alice, bob := User("alice"), User("bob")
	first, ok1 := s.Take(alice)
	_, ok2 := s.Take(alice)
	_, ok3 := s.Take(alice)
	if !ok1 || !ok2 || ok3 {
		t.Fatalf("taken: %v, %v, %v; want two of two", ok1, ok2, ok3)
	}
	other, ok := s.Take(bob)
	if !ok {
		t.Error("one user keeps another out")
	}
	first.Release()
	if _, ok := s.Take(alice); !ok {
		t.Error("a slot that was given back is not taken")
	}
	other.Release()
	if n := len(s.slots); n != 1 {
		t.Errorf("%d keys are known, want the one that has slots", n)
	}
}

// However they come and go, nobody has more than allowed, and in the end nothing
// is kept.
func TestSlotsOfMany(t *testing.T) {
	const max, keys = 3, 4 * shrinkFrom
	s := NewSlots(max)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			var taken []*Slot
			for k := range Key(keys) {
				if slot, ok := s.Take(k); ok {
					taken = append(taken, slot)
				}
			}
			for _, slot := range taken {
				slot.Release()
			}
		})
	}
	all.Wait()
	if len(s.slots) != 0 || s.peak >= shrinkFrom {
		t.Errorf("%d keys are left, and room for %d", len(s.slots), s.peak)
	}
	for range max {
		if _, ok := s.Take(7); !ok {
			t.Fatal("a slot was lost")
		}
	}
	if _, ok := s.Take(7); ok {
		t.Error("a slot was given back twice")
	}
}

func TestSlotsOfKnownKeysAllocateNothing(t *testing.T) {
	s := NewSlots(10)
	s.Take(User("alice"))
	if n := testing.AllocsPerRun(100, func() {
		slot, _ := s.Take(User("alice"))
		slot.Release()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
