package load

import (
	"strings"
	"testing"
	"time"
)

func TestCPUOfAProcessWithAnyName(t *testing.T) {
	stat := "42 (a) b (c 1 2 3) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 7 8 20 0 12 0 100 1000 200"
	if got, err := cpuOf([]byte(stat)); err != nil || got != 3*time.Second {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "42 (a) S 1 2", strings.Replace(stat, "250", "x", 1)} {
		if got, err := cpuOf([]byte(bad)); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func TestKibibytes(t *testing.T) {
	status := "Name:\tgateway\nVmPeak:\t  999 kB\nVmHWM:\t  20 kB\nVmRSS:\t  12 kB\n"
	if got, err := kibibytes([]byte(status), "VmRSS:"); err != nil || got != 12<<10 {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := kibibytes([]byte(status), "Rss:"); err == nil {
		t.Error("a line that is not there is found")
	}
}
