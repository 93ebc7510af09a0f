package load

import (
	"math/rand/v2"
	"testing"
)

func TestCheckerTells(t *testing.T) {
	tests := []struct {
		name                             string
		seen                             []uint64
		lost, skipped, repeated, outLate int
	}{
		{"nothing", nil, 5, 0, 0, 0},
		{"everything in order", []uint64{1, 2, 3, 4, 5}, 0, 0, 0, 0},
		{"a loss at the begin", []uint64{3, 4, 5}, 2, 2, 0, 0},
		{"a loss in the middle", []uint64{1, 2, 5}, 2, 2, 0, 0},
		{"a loss at the end", []uint64{1, 2, 3}, 2, 0, 0, 0},
		{"a repetition at once", []uint64{1, 2, 2, 3, 4, 5}, 0, 0, 1, 0},
		{"a repetition later", []uint64{1, 2, 3, 4, 5, 2, 1}, 0, 0, 2, 0},
		{"two that changed places", []uint64{1, 3, 2, 4, 5}, 0, 1, 0, 1},
		{"all backwards", []uint64{5, 4, 3, 2, 1}, 0, 4, 0, 4},
		{"a late one that comes twice", []uint64{1, 4, 3, 3, 5}, 1, 2, 1, 1},
		{"a gap filled from its middle", []uint64{5, 3, 2, 4, 1, 3}, 0, 4, 1, 4},
	}
	for _, test := range tests {
		var c checker
		var skipped uint64
		count := map[verdict]int{}
		for _, n := range test.seen {
			v, s := c.see(n)
			count[v]++
			skipped += s
		}
		if got := c.lost(5); got != uint64(test.lost) || skipped != uint64(test.skipped) || count[repeated] != test.repeated || count[late] != test.outLate {
			t.Errorf("%s: lost %d, skipped %d, repeated %d, late %d", test.name, got, skipped, count[repeated], count[late])
		}
	}
}

// What a set of all numbers would say, the checker says.
func TestCheckerAgainstASet(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var c checker
		seen := map[uint64]bool{}
		var last uint64
		for range 200 {
			n := uint64(1 + rng.IntN(80))
			want := fresh
			switch {
			case seen[n]:
				want = repeated
			case n < last:
				want = late
			}
			if v, _ := c.see(n); v != want {
				t.Fatalf("%d is %v, want %v", n, v, want)
			}
			seen[n], last = true, max(last, n)
		}
		if got := c.lost(100); got != uint64(100-len(seen)) {
			t.Fatalf("lost %d, want %d", got, 100-len(seen))
		}
	}
}
