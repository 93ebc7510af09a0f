package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"realtime-gateway/pkg/channels"
)

const (
	// memoryShare is the part of a container's memory that Go may use. The rest
	// is for what the container is charged for besides: about 4 KiB of the kernel
	// for each idle stream, more for one with unsent bytes.
	memoryShare = 0.75
	// ownDescriptors is about how many open files are no streams: connections to
	// Redis, listeners, and connections of which nobody knows yet what they want.
	ownDescriptors = 256
	// fewDescriptors is below what a replica hardly means to be limited to.
	fewDescriptors = 10_000
)

// limits are what the machine, or the container, allows this process.
type limits struct {
	// files is how many descriptors may be open, and filesHard how far the
	// process could raise that; zero where the system does not tell.
	//
	// Nothing is raised here, because Go itself does: at the start of every
	// process to the hard limit less one, and back for the processes it starts.
	// Setting the limit again would only take the latter away.
	files, filesHard uint64

	memory     int64  // bytes that Go may use before it collects at any price; math.MaxInt64 for any
	memoryFrom string // who said so
	logs       int64  // bytes that the channels' logs may hold, within memory

	// procs is how many threads execute Go at the same time. Go itself takes a
	// container's share of CPUs into account, and follows its changes.
	procs int
}

// applyLimits tells Go about the container's memory, and returns all limits. A
// memory limit in the environment has precedence. The error is that there is a
// limit which cannot be read, and then nothing has changed. logMemory is the
// setting of that name.
func applyLimits(environment string, container memlimit.Provider, logMemory int) (limits, error) {
	var l limits
	l.files, l.filesHard = openFiles()
	l.procs = runtime.GOMAXPROCS(0)
	var err error
	if l.memoryFrom = "environment"; environment == "" {
		l.memoryFrom, err = limitMemory(container)
	}
	l.memory = debug.SetMemoryLimit(-1)
	l.logs = logBudget(logMemory, l.memory)
	return l, err
}

func limitMemory(container memlimit.Provider) (from string, err error) {
	bytes, err := container()
	switch {
	case errors.Is(err, memlimit.ErrNoLimit), errors.Is(err, memlimit.ErrNoCgroup), errors.Is(err, memlimit.ErrCgroupsNotSupported):
		return "none", nil
	case err != nil:
		return "none", fmt.Errorf("read the container's memory limit: %w", err)
	}
	debug.SetMemoryLimit(int64(min(float64(bytes)*memoryShare, 1<<62)))
	return fmt.Sprintf("%d%% of the container's %d MiB", int(memoryShare*100), bytes>>20), nil
}

// logBudget returns how many bytes the channels' logs may hold, as configured or,
// with 0, out of the memory limit.
func logBudget(configured int, memory int64) int64 {
	switch {
	case configured > 0:
		return int64(configured)
	case memory < math.MaxInt64:
		return max(memory/8, 1)
	}
	return channels.DefaultLogBytes
}

// streams is about how many streams the open files allow.
func (l limits) streams() uint64 { return max(l.files, ownDescriptors) - ownDescriptors }

// LogValue lists the limits that there are.
func (l limits) LogValue() slog.Value {
	var list []slog.Attr
	if l.files > 0 {
		list = append(list, slog.Uint64("descriptors", l.files), slog.Uint64("descriptors_hard", l.filesHard), slog.Uint64("streams", l.streams()))
	}
	if l.memory < math.MaxInt64 {
		list = append(list, slog.Int64("memory_bytes", l.memory))
	}
	return slog.GroupValue(append(list, slog.String("memory_from", l.memoryFrom), slog.Int64("log_memory_bytes", l.logs), slog.Int("gomaxprocs", l.procs))...)
}

// report logs the limits, and what to do about one that is low.
func (l limits) report(log *slog.Logger) {
	log.Info("limits of this process", "limits", l)
	if l.files > 0 && l.files < fewDescriptors {
		log.Warn("few files may be open at the same time, and each stream is one; raise the hard limit: ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of docker",
			"descriptors", l.files, "descriptors_hard", l.filesHard, "streams", l.streams())
	}
}
