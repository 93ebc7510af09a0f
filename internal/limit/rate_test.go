package limit

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// clock is a time that the test moves.
type clock struct{ time.Time }

func newClock() *clock                { return &clock{time.Unix(1_700_000_000, 0)} }
func (c *clock) now() time.Time       { return c.Time }
func (c *clock) pass(d time.Duration) { c.Time = c.Add(d) }

// take counts how often the key may.
func take(r *Rate, k Key, tries int) (n int) {
	for range tries {
		if r.Allow(k) {
			n++
		}
	}
	return n
}

func TestRate(t *testing.T) {
	c := newClock()
	r := NewRate(10, 2*time.Second, c.now)
	if n := take(r, 1, 100); n != 20 {
		t.Errorf("%d at once, want 2 s' worth", n)
	}
	if n := take(r, 1+sets, 100); n != 20 {
		t.Errorf("%d of another key in the same set, want 20", n)
	}
	c.pass(99 * time.Millisecond)
	if r.Allow(1) {
		t.Error("the next may before its time")
	}
	c.pass(time.Millisecond)
	if n := take(r, 1, 100); n != 1 {
		t.Errorf("%d after 100 ms, want 1", n)
	}
	c.pass(time.Second)
	if n := take(r, 1, 100); n != 10 {
		t.Errorf("%d after a second, want 10", n)
	}
	c.pass(time.Hour)
	if n := take(r, 1, 100); n != 20 {
		t.Errorf("%d after an hour, want no more than 20", n)
	}
}

func TestRateOfNone(t *testing.T) {
	var r *Rate
	if n := take(r, 1, 1000); n != 1000 {
		t.Errorf("%d of 1000 without a limit", n)
	}
	if NewRate(0, time.Second, nil) != nil {
		t.Error("0 is a limit")
	}
}

// Floods of keys neither grow the memory nor wash a known one's state away,
// nor take its tokens; and those that find no place are limited too.
func TestRateUnderManyKeys(t *testing.T) {
	c := newClock()
	r := NewRate(1, 20*time.Second, c.now)
	const known = 1000
	for k := range Key(known) {
		take(r, k, 10)
	}
	before := len(r.sets)
	flood := rand.New(rand.NewPCG(1, 2))
	const keys = 500_000
	allowed := 0
	for range keys {
		allowed += take(r, Key(flood.Uint64()), 1)
	}
	if len(r.sets) != before {
		t.Error("the memory grows")
	}
	if most := sets*places + sets*20; allowed > most {
		t.Errorf("%d of %d new keys may at once, want %d at most", allowed, keys, most)
	}
	for k := range Key(known) {
		if n := take(r, k, 20); n != 10 {
			t.Fatalf("key %d has %d tokens left, want 10", k, n)
		}
	}
	c.pass(20 * time.Second)
	if n := take(r, 1<<40, 100); n != 20 {
		t.Errorf("after the flood %d at once, want 20", n)
	}
}

func TestRateAllocatesNothing(t *testing.T) {
	r := NewRate(1000, time.Second, nil)
	address := netip.MustParseAddr("2001:db8::1")
	if n := testing.AllocsPerRun(100, func() { r.Allow(User("alice")); r.Allow(Address(address)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAddressesThatCountAsOne(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:1:2:3", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		a, b := netip.MustParseAddr(tt.a), netip.MustParseAddr(tt.b)
		if got := Address(a) == Address(b); got != tt.same {
			t.Errorf("%s and %s count as one: %v", a, b, got)
		}
	}
	if Address(netip.Addr{}) == Address(netip.MustParseAddr("0.0.0.0")) {
		t.Error("no address is one")
	}
}
