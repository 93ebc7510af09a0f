package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// shiftedClock replaces what Redis asks for the time. libfaketime would do the
// same, but it ends in a recursion with the allocator of Debian's Redis.
const shiftedClock = `
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) { return atol(getenv("CLOCK_SHIFT")); }

int clock_gettime(clockid_t id, struct timespec *t) {
	int failed = syscall(SYS_clock_gettime, id, t);
	if (!failed && id == CLOCK_REALTIME) t->tv_sec += shift();
	return failed;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
	struct timespec now;
	int failed = clock_gettime(CLOCK_REALTIME, &now);
	t->tv_sec = now.tv_sec;
	t->tv_usec = now.tv_nsec / 1000;
	return failed;
}

time_t time(time_t *t) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (t) *t = now.tv_sec;
	return now.tv_sec;
}
`

// Shift sets the server's clock off by whole seconds, from its next Start on.
// It needs the C compiler that the race detector needs.
func (r *Redis) Shift(d time.Duration) error {
	library := filepath.Join(r.dir, "..", filepath.Base(r.dir)+"-clock.so")
	cmd := exec.Command("cc", "-shared", "-fPIC", "-O1", "-x", "c", "-o", library, "-")
	cmd.Stdin = strings.NewReader(shiftedClock)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the shifted clock: %w\n%s", err, out)
	}
	r.env = []string{"LD_PRELOAD=" + library, fmt.Sprintf("CLOCK_SHIFT=%d", int(d.Seconds()))}
	return nil
}
