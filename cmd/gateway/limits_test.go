package main

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"realtime-gateway/pkg/channels"
)

func TestMemoryLimit(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	const before = 3 << 30
	broken := errors.New("memory.max is no number")
	for name, test := range map[string]struct {
		environment string
		container   uint64
		err         error
		want        int64
		from        string
	}{
		"a container's":       {container: 1 << 30, want: 3 << 28, from: "75% of the container's 1024 MiB"},
		"an endless one":      {container: math.MaxUint64, want: 1 << 62, from: "75% of the container's 17592186044415 MiB"},
		"the environment's":   {environment: "1GiB", container: 1 << 30, want: before, from: "environment"},
		"turned off":          {environment: "off", container: 1 << 30, want: before, from: "environment"},
		"no limit":            {err: memlimit.ErrNoLimit, want: before, from: "none"},
		"no container":        {err: memlimit.ErrNoCgroup, want: before, from: "none"},
		"no such thing":       {err: memlimit.ErrCgroupsNotSupported, want: before, from: "none"},
		"it cannot be read":   {err: broken, want: before, from: "none"},
		"nobody asks for one": {environment: "off", err: broken, want: before, from: "environment"},
	} {
		t.Run(name, func(t *testing.T) {
			debug.SetMemoryLimit(before)
			l, err := applyLimits(test.environment, func() (uint64, error) { return test.container, test.err }, 0)
			if want := test.err == broken && test.environment == ""; errors.Is(err, broken) != want || (err != nil) != want {
				t.Errorf("error is %v", err)
			}
			if l.memory != test.want || debug.SetMemoryLimit(-1) != test.want || l.memoryFrom != test.from {
				t.Errorf("the limit is %d, from %q; want %d, from %q", l.memory, l.memoryFrom, test.want, test.from)
			}
			if l.logs != test.want/8 {
				t.Errorf("the logs get %d of %d", l.logs, test.want)
			}
			if l.procs != runtime.GOMAXPROCS(0) {
				t.Errorf("procs are %d", l.procs)
			}
		})
	}
}

func TestLimitsAreReported(t *testing.T) {
	for want, l := range map[string]limits{
		"limits.descriptors=20000 limits.descriptors_hard=20001 limits.streams=19744 limits.memory_bytes=1024 limits.memory_from=environment limits.log_memory_bytes=7 limits.gomaxprocs=2": {20_000, 20_001, 1 << 10, "environment", 7, 2},
		"level=WARN msg=\"few files may be open at the same time":               {1024, 1024, math.MaxInt64, "none", 7, 2},
		"limits.memory_from=none limits.log_memory_bytes=7 limits.gomaxprocs=4": {0, 0, math.MaxInt64, "none", 7, 4},
	} {
		var b bytes.Buffer
		l.report(slog.New(slog.NewTextHandler(&b, nil)))
		if !strings.Contains(b.String(), want) || strings.Contains(b.String(), "WARN") != strings.Contains(want, "WARN") {
			t.Errorf("%+v: logged\n%swant\n%s", l, &b, want)
		}
	}
	if n := (limits{files: 100}).streams(); n != 0 {
		t.Errorf("100 files allow %d streams", n)
	}
}

func TestLogBudget(t *testing.T) {
	for _, test := range []struct {
		configured   int
		memory, want int64
	}{
		{0, math.MaxInt64, channels.DefaultLogBytes},
		{0, 1 << 30, 1 << 27},
		{0, 0, 1}, // of no memory there is no share, and to the hub 0 is its default
		{5 << 20, 1 << 30, 5 << 20},
		{5 << 20, math.MaxInt64, 5 << 20},
	} {
		if got := logBudget(test.configured, test.memory); got != test.want {
			t.Errorf("logBudget(%d, %d) is %d, want %d", test.configured, test.memory, got, test.want)
		}
	}
}

func TestConnectionsPerUser(t *testing.T) {
	for _, tt := range []struct{ set, all, want int }{
		{0, 100_000, 50_000}, {0, 30_000, 20_000}, {0, 100, 20_000}, {0, 0, 0}, {7, 100_000, 7}, {7, 0, 7},
	} {
		if got := perUser(tt.set, tt.all); got != tt.want {
			t.Errorf("of %d, with the setting %d, a user may have %d, want %d", tt.all, tt.set, got, tt.want)
		}
	}
}
