package load

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ReadUsage looks at a process of the same user.
func ReadUsage(pid int) (Usage, error) {
	u, err := readUsage(pid)
	if err != nil {
		return u, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	return u, nil
}

func readUsage(pid int) (u Usage, err error) {
	if u.CPU, err = cpuTime(pid); err != nil {
		return u, err
	}
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, err
	}
	if u.Peak, err = kibibytes(status, "VmHWM:"); err != nil {
		return u, err
	}
	// The sum in status lags behind by what each processor has not added yet;
	// the walk through the page tables does not.
	if exact, notThere := os.ReadFile(dir + "/smaps_rollup"); notThere == nil {
		u.RSS, err = kibibytes(exact, "Rss:")
	} else {
		u.RSS, err = kibibytes(status, "VmRSS:")
	}
	u.Peak = max(u.Peak, u.RSS)
	return u, err
}

// cpuTime asks the process's CPU clock: the same as in /proc/PID/stat, which
// counts in steps of 10 ms. Its number is made like that of
// clock_getcpuclockid(3).
func cpuTime(pid int) (time.Duration, error) {
	const processClock = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|processClock), &t); err != nil {
		return 0, fmt.Errorf("read its clock: %w", err)
	}
	return time.Duration(t.Nano()), nil
}
