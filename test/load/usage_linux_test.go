package load

import (
	"os"
	"testing"
)

func TestUsageOfThisProcess(t *testing.T) {
	before, err := ReadUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if before.RSS <= 0 || before.Peak < before.RSS || before.CPU <= 0 {
		t.Errorf("%+v", before)
	}
	after, err := ReadUsage(os.Getpid())
	if err != nil || after.CPU <= before.CPU {
		t.Errorf("%+v, %v: no time has passed since %v", after, err, before.CPU)
	}
}

func TestUsageOfNobody(t *testing.T) {
	if u, err := ReadUsage(1 << 30); err == nil {
		t.Errorf("%+v", u)
	}
}
