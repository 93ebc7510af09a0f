package harness

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Position is an event's position, which is a Redis stream id. The gateway's
// own type is not used, so that its mistakes are not repeated here.
type Position struct{ Millis, Seq uint64 }

// ParsePosition reads "milliseconds-sequence".
func ParsePosition(s string) (Position, error) {
	ms, seq, ok := strings.Cut(s, "-")
	m, err1 := strconv.ParseUint(ms, 10, 64)
	n, err2 := strconv.ParseUint(seq, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return Position{}, fmt.Errorf("position %q is not milliseconds-sequence", s)
	}
	return Position{m, n}, nil
}

// String returns what ParsePosition reads.
func (p Position) String() string { return fmt.Sprintf("%d-%d", p.Millis, p.Seq) }

// Less tells whether p comes before q.
func (p Position) Less(q Position) bool {
	return p.Millis < q.Millis || p.Millis == q.Millis && p.Seq < q.Seq
}

// Time is the time that Redis' clock showed.
func (p Position) Time() time.Time { return time.UnixMilli(int64(p.Millis)) }
