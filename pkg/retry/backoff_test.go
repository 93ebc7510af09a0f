package retry

import (
	"math"
	"testing"
	"time"
)

func lowest(int64) int64    { return 0 }
func highest(n int64) int64 { return n - 1 }

func TestBackoffCaps(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name   string
		policy Policy
		want   []time.Duration // the longest possible waits
	}{
		{"doubles up to the maximum", Policy{10 * ms, 75 * ms}, []time.Duration{10 * ms, 20 * ms, 40 * ms, 75 * ms, 75 * ms}},
		{"maximum is a power of the initial wait", Policy{10 * ms, 40 * ms}, []time.Duration{10 * ms, 20 * ms, 40 * ms, 40 * ms}},
		{"maximum below the initial wait", Policy{10 * ms, 3 * ms}, []time.Duration{3 * ms, 3 * ms}},
		{"shortest possible", Policy{1, 1}, []time.Duration{1, 1}},
		{"zero", Policy{}, []time.Duration{100 * ms, 200 * ms, 400 * ms}},
		{"negative", Policy{-1, -1}, []time.Duration{100 * ms, 200 * ms, 400 * ms}},
		{"does not overflow", Policy{math.MaxInt64/2 + 1, math.MaxInt64}, []time.Duration{math.MaxInt64/2 + 1, math.MaxInt64, math.MaxInt64}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			most := Backoff{Policy: tt.policy, draw: highest}
			least := Backoff{Policy: tt.policy, draw: lowest}
			for i, want := range tt.want {
				if got := most.Next(); got != want {
					t.Errorf("longest wait %d is %v, want %v", i+1, got, want)
				}
				if got := least.Next(); got != 1 {
					t.Errorf("shortest wait %d is %v, want 1ns", i+1, got)
				}
			}
		})
	}
}

func TestBackoffSpreadsOverTheWholeRange(t *testing.T) {
	const limit, draws = time.Second, 20_000
	b := Backoff{Policy: Policy{Initial: limit, Max: limit}}
	var tenths [10]int
	for range draws {
		d := b.Next()
		if d <= 0 || d > limit {
			t.Fatalf("wait is %v, want one in (0, %v]", d, limit)
		}
		tenths[(d-1)*10/limit]++
	}
	for i, n := range tenths {
		// The standard deviation is 42, so this fails once in a great many runs.
		if n < draws/10-400 || n > draws/10+400 {
			t.Errorf("%d of %d waits are in tenth %d of the range, want about %d", n, draws, i+1, draws/10)
		}
	}
}

func TestBackoffReset(t *testing.T) {
	b := Backoff{Policy: Policy{Initial: time.Second, Max: time.Minute}, draw: highest}
	for range 100 {
		b.Next()
	}
	if got := b.Next(); got != time.Minute {
		t.Fatalf("wait after 100 failures is %v, want 1m", got)
	}
	b.Reset()
	if got := b.Next(); got != time.Second {
		t.Fatalf("wait after Reset is %v, want 1s", got)
	}
}
