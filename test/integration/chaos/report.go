package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what a run has come to.
type Report struct {
	Topology   string
	Seed       uint64
	Time       time.Duration
	Violations []violation

	began                                      time.Time
	rounds, published, deliveries, connections int
	faults, gaps, closes, violations           map[string]int
}

func newReport(c Config) *Report {
	return &Report{
		Topology: c.Topology, Seed: c.Seed, began: time.Now(),
		faults: map[string]int{}, gaps: map[string]int{}, closes: map[string]int{}, violations: map[string]int{},
	}
}

// add counts a round whose publishers and clients have ended.
func (r *Report) add(round *round, found []violation) {
	r.rounds++
	r.Time = time.Since(r.began)
	r.Violations = append(r.Violations, found...)
	for _, v := range found {
		r.violations[string(v.kind)]++
	}
	for _, f := range round.played {
		r.faults[f.name]++
	}
	for _, p := range round.publishers {
		r.published += p.n
	}
	for _, c := range round.clients {
		r.connections += c.conn
		for reason, n := range c.closes {
			r.closes[reason] += n
		}
		for _, s := range c.stories {
			for _, i := range s.items {
				switch i.what {
				case event:
					r.deliveries++
				case gap:
					r.gaps[i.reason]++
				}
			}
		}
	}
}

// String is the run in one line.
func (r *Report) String() string {
	return fmt.Sprintf("chaos: topology %s, seed %d, %v, %d rounds, %d events, %d deliveries, %d connections, faults [%s], closes [%s], gaps [%s], %d violations [%s]",
		r.Topology, r.Seed, r.Time.Round(time.Second), r.rounds, r.published, r.deliveries, r.connections,
		counts(r.faults), counts(r.closes), counts(r.gaps), len(r.Violations), counts(r.violations))
}

func counts(of map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(parts, ", ")
}
