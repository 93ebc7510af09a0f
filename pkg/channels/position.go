package channels

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Position is an event's place in its channel's stream: a Redis stream id,
// which is the Redis time in milliseconds and a sequence number within it.
// Positions of one channel only ever grow. The zero Position is before
// everything.
type Position struct {
	Millis uint64 // Unix time in milliseconds
	Seq    uint64
}

// ParsePosition reads "milliseconds-sequence" in decimal.
func ParsePosition(s string) (Position, error) {
	ms, seq, ok := strings.Cut(s, "-")
	if ok {
		m, err1 := strconv.ParseUint(ms, 10, 64)
		n, err2 := strconv.ParseUint(seq, 10, 64)
		if err1 == nil && err2 == nil {
			return Position{m, n}, nil
		}
	}
	return Position{}, fmt.Errorf("position %q is not of the form milliseconds-sequence", s)
}

// String returns "milliseconds-sequence", as Redis writes it.
func (p Position) String() string {
	b := make([]byte, 0, 24)
	b = strconv.AppendUint(b, p.Millis, 10)
	b = append(b, '-')
	return string(strconv.AppendUint(b, p.Seq, 10))
}

// Less tells whether p comes before q.
func (p Position) Less(q Position) bool {
	return p.Millis < q.Millis || p.Millis == q.Millis && p.Seq < q.Seq
}

// before is the last position there could be before p.
func (p Position) before() Position {
	if p.Seq > 0 {
		return Position{p.Millis, p.Seq - 1}
	}
	return Position{p.Millis - 1, math.MaxUint64}
}

func highest(p, q Position) Position {
	if p.Less(q) {
		return q
	}
	return p
}

// IsZero tells whether p is the position before everything.
func (p Position) IsZero() bool { return p == Position{} }

// Time is when Redis gave the position, in UTC.
func (p Position) Time() time.Time { return time.UnixMilli(int64(p.Millis)).UTC() }
