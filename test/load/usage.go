package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Usage is what a process has of the machine at one moment, as /proc tells.
type Usage struct {
	RSS  int64         // bytes resident now
	Peak int64         // the most there ever were
	CPU  time.Duration // user and system time since its start
}

// tick is the unit of times in /proc/PID/stat: USER_HZ, which is 100 wherever
// Linux runs Go.
const tick = 10 * time.Millisecond

// ReadUsage looks at a process.
func ReadUsage(pid int) (Usage, error) {
	var u Usage
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	if u.CPU, err = cpuOf(stat); err != nil {
		return u, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	if u.Peak, err = kibibytes(status, "VmHWM:"); err != nil {
		return u, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	// The sum in status lags behind by what each processor has not added yet;
	// the walk through the page tables does not.
	exact, err := os.ReadFile(dir + "/smaps_rollup")
	if err == nil {
		u.RSS, err = kibibytes(exact, "Rss:")
	} else {
		u.RSS, err = kibibytes(status, "VmRSS:")
	}
	if err != nil {
		return u, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	u.Peak = max(u.Peak, u.RSS)
	return u, nil
}

// cpuOf reads utime and stime, the 14th and 15th field. The second is a name in
// parentheses and may hold anything.
func cpuOf(stat []byte) (time.Duration, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("no stat of a process: %q", stat)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// kibibytes reads a line such as "VmRSS:   1234 kB", in bytes.
func kibibytes(text []byte, name string) (int64, error) {
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) >= 2 && string(fields[0]) == name {
			n, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("no line %q", name)
}
