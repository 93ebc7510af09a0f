package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramBucketsHoldTheirValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := []uint64{0, 1, 63, 64, 65, 127, 128, 129, 1<<63 - 1}
	for range 10_000 {
		values = append(values, rng.Uint64()>>(1+rng.IntN(63)))
	}
	for _, v := range values {
		i := bucketOf(v)
		if top := uint64(topOf(i)); top < v || top-v > v/subBuckets {
			t.Errorf("%d is in bucket %d, which ends at %d", v, i, top)
		}
		if i > 0 && uint64(topOf(i-1)) >= v {
			t.Errorf("%d is in bucket %d, but the one before ends at %d", v, i, topOf(i-1))
		}
	}
}

func TestHistogramQuantiles(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Count() != 0 || h.Max() != 0 {
		t.Error("an empty histogram is not zero")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	var all []time.Duration
	for range 5_000 {
		d := time.Duration(rng.ExpFloat64() * 1e6)
		all = append(all, d)
		h.Record(d)
	}
	slices.Sort(all)
	if h.Count() != 5_000 || h.Max() != all[len(all)-1] || h.Quantile(1) != h.Max() {
		t.Errorf("count %d, max %v, 100th percentile %v; the largest is %v", h.Count(), h.Max(), h.Quantile(1), all[len(all)-1])
	}
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999} {
		exact := all[max(int(q*5_000+0.5), 1)-1]
		if got := h.Quantile(q); got < exact || got-exact > exact/subBuckets+1 {
			t.Errorf("quantile %v is %v, exactly it is %v", q, got, exact)
		}
	}
}

func TestHistogramOfOne(t *testing.T) {
	var h Histogram
	h.Record(-time.Second)
	h.Record(1234567)
	if h.Quantile(0.99) != 1234567 || h.Quantile(0.5) != 0 {
		t.Errorf("99th percentile %v, median %v", h.Quantile(0.99), h.Quantile(0.5))
	}
}
