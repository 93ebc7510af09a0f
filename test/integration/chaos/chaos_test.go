package chaos

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	seed     = flag.Uint64("chaos.seed", 1, "what the run follows from; 0 takes one at random")
	length   = flag.Duration("chaos.time", 15*time.Second, "how long each topology is run")
	topology = flag.String("chaos.topology", "all", "single, sentinel, cluster, several of them, or all")
	first    = flag.Int("chaos.round", 0, "the round to begin with, to see one of a long run again")
	only     = flag.String("chaos.faults", "", "the names of the only faults to play, parted by commas; if empty, all")
	pause    = flag.Duration("chaos.pause", 0, "how long it is quiet between two faults, on average; 0 is the default")
)

func TestChaos(t *testing.T) {
	names := strings.Split(*topology, ",")
	if *topology == "all" {
		names = slices.Sorted(maps.Keys(topologies))
	}
	var faults []string
	if *only != "" {
		faults = strings.Split(*only, ",")
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report, err := Run(Config{Binary: binary, Dir: t.TempDir(), Topology: name, Seed: *seed, Time: *length, Round: *first, Faults: faults, Pause: *pause, Log: t.Logf})
			show(t, report)
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// show fails the test for each violation, but does not print thousands.
func show(t *testing.T, report *Report) {
	t.Helper()
	for i, v := range report.Violations {
		if i == 12 {
			t.Errorf("and %d more", len(report.Violations)-i)
			break
		}
		t.Errorf("seed %d, %s: %v", report.Seed, report.Topology, v)
	}
	t.Log(report)
}
