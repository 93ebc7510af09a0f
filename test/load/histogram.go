package load

import (
	"math/bits"
	"time"
)

// subBuckets parts each power of two, so a value is known to 1 in 64.
const (
	subBits    = 6
	subBuckets = 1 << subBits
)

// Histogram counts durations in buckets whose width grows with the value. The
// zero value is empty and ready. Not safe for concurrent use.
type Histogram struct {
	counts [(64 - subBits) * subBuckets]uint64
	count  uint64
	max    time.Duration
}

// Record counts one duration. A negative one, which only a clock that went back
// could make, counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	h.count++
	h.max = max(h.max, d)
}

// Count is how many were recorded.
func (h *Histogram) Count() uint64 { return h.count }

// Max is the largest that was recorded, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile is a duration that the fraction q of all do not exceed, at most 1 in
// 64 too large. It is zero while nothing was recorded.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := min(max(uint64(q*float64(h.count)+0.5), 1), h.count)
	for i, n := range h.counts {
		if rank <= n {
			return min(topOf(i), h.max)
		}
		rank -= n
	}
	return h.max
}

// bucketOf keeps the highest bits of v: below 2*subBuckets each value has a
// bucket of its own, above that each power of two has subBuckets.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift*subBuckets + int(v>>shift)
}

// topOf is the largest value of a bucket.
func topOf(i int) time.Duration {
	shift := max(i/subBuckets-1, 0)
	return time.Duration(uint64(i-shift*subBuckets+1)<<shift - 1)
}
