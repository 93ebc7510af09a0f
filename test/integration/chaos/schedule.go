package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A lane plays one fault after the other; the lanes play beside each other. So
// at most one replica is away for long, and faults of different sorts overlap.
type lane int

const (
	replicaLane lane = iota
	linkLane
	serverLane
	lanes
)

// fault is something that can go wrong in a topology.
type fault struct {
	name string
	lane lane
	// longest is how long it may last; zero is a blow without duration.
	longest time.Duration
	loses   bool // Redis may lose what it has acknowledged
	// rare ones cost the others much time.
	rare bool
	// begin plays it on one of its targets and returns what ends it.
	begin func(target int) (heal func() error, err error)
}

// step is a fault's place in a schedule.
type step struct {
	after  time.Duration // the end of the step before
	fault  fault
	target int
	lasts  time.Duration
}

type schedule [lanes][]step

// plan draws a schedule. It depends on nothing but its arguments.
func plan(random *rand.Rand, faults []fault, total, pause time.Duration) schedule {
	var s schedule
	for l := range lanes {
		var choice []fault
		for _, f := range faults {
			if f.lane != l {
				continue
			}
			choice = append(choice, f)
			if !f.rare {
				choice = append(choice, f, f)
			}
		}
		if len(choice) == 0 {
			continue
		}
		for at := time.Duration(0); ; {
			next := step{
				fault:  choice[random.IntN(len(choice))],
				target: random.IntN(1 << 16),
			}
			next.after = pause/2 + time.Duration(random.Int64N(int64(pause)+1))
			if f := next.fault.longest; f > 0 {
				next.lasts = f/10 + time.Duration(random.Int64N(int64(f)))
			}
			if at += next.after + next.lasts; at > total {
				break
			}
			s[l] = append(s[l], next)
		}
	}
	return s
}

func (s schedule) String() string {
	var b strings.Builder
	for l, steps := range s {
		at := time.Duration(0)
		fmt.Fprintf(&b, "lane %d:", l)
		for _, st := range steps {
			at += st.after
			fmt.Fprintf(&b, " %.1fs %s", at.Seconds(), st.fault.name)
			if st.lasts > 0 {
				fmt.Fprintf(&b, " for %.1fs", st.lasts.Seconds())
			}
			fmt.Fprintf(&b, " (%d);", st.target)
			at += st.lasts
		}
		b.WriteByte('\n')
	}
	return b.String()
}
