package load

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// Usage is what a process has of the machine at one moment.
type Usage struct {
	RSS  int64         // bytes resident now
	Peak int64         // the most there ever were
	CPU  time.Duration // user and system time since its start
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
