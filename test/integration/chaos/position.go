package chaos

import (
	"fmt"
	"strconv"
	"strings"
)

// position is a stream id. The gateway's own type is not used, so that its
// mistakes are not repeated here.
type position struct{ ms, seq uint64 }

func parsePosition(s string) (position, error) {
	ms, seq, ok := strings.Cut(s, "-")
	m, err1 := strconv.ParseUint(ms, 10, 64)
	n, err2 := strconv.ParseUint(seq, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return position{}, fmt.Errorf("%q is no position", s)
	}
	return position{m, n}, nil
}

func (p position) String() string { return fmt.Sprintf("%d-%d", p.ms, p.seq) }

func (p position) less(q position) bool { return p.ms < q.ms || p.ms == q.ms && p.seq < q.seq }

func (p position) compare(q position) int {
	switch {
	case p.less(q):
		return -1
	case q.less(p):
		return 1
	}
	return 0
}

func later(p, q position) position {
	if p.less(q) {
		return q
	}
	return p
}
