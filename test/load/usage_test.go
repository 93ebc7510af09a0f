package load

import "testing"

func TestKibibytes(t *testing.T) {
	status := "Name:\tgateway\nVmPeak:\t  999 kB\nVmHWM:\t  20 kB\nVmRSS:\t  12 kB\n"
	if got, err := kibibytes([]byte(status), "VmRSS:"); err != nil || got != 12<<10 {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := kibibytes([]byte(status), "Rss:"); err == nil {
		t.Error("a line that is not there is found")
	}
}
