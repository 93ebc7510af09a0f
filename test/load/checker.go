package load

import "slices"

// verdict is what an event's number says about its stream.
type verdict uint8

const (
	fresh    verdict = iota // it has not been here
	late                    // it has not been here, but a later one has
	repeated                // it has been here
)

// checker follows the numbers of one stream, which begin at 1. Numbers may be
// left out and come later, and each may come once.
type checker struct {
	last    uint64 // the highest so far
	skipped []span // below it, in order: what has not come
}

// span is first to last, both included.
type span struct{ first, last uint64 }

// see takes the next number, and returns what it is and how many it skipped.
func (c *checker) see(n uint64) (v verdict, skipped uint64) {
	if n > c.last {
		if skipped = n - c.last - 1; skipped > 0 {
			c.skipped = append(c.skipped, span{c.last + 1, n - 1})
		}
		c.last = n
		return fresh, skipped
	}
	i, _ := slices.BinarySearchFunc(c.skipped, n, func(s span, n uint64) int {
		if s.last < n {
			return -1
		}
		return 1
	})
	if i == len(c.skipped) || n < c.skipped[i].first {
		return repeated, 0
	}
	s := c.skipped[i]
	switch {
	case s.first == s.last:
		c.skipped = slices.Delete(c.skipped, i, i+1)
	case n == s.first:
		c.skipped[i].first++
	case n == s.last:
		c.skipped[i].last--
	default:
		c.skipped[i].last = n - 1
		c.skipped = slices.Insert(c.skipped, i+1, span{n + 1, s.last})
	}
	return late, 0
}

// lost is how many of the numbers up to published have not come.
func (c *checker) lost(published uint64) uint64 {
	var n uint64
	for _, s := range c.skipped {
		n += s.last - s.first + 1
	}
	if published > c.last {
		n += published - c.last
	}
	return n
}
