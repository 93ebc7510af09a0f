// Package integration_test checks the gateway's contract from outside: the
// built binary, real processes, a real Redis, HTTP.
package integration_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"realtime-gateway/test/integration/harness"
)

// binary is the gateway under test.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gateway-integration-")
	if err == nil {
		defer os.RemoveAll(dir)
		binary, err = harness.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	commonDir = dir
	code := m.Run()
	if err := closeCommon(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	harness.Client.CloseIdleConnections()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// crashes finds what no log may contain.
func crashes(log string) error {
	for _, mark := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if at := strings.Index(log, mark); at >= 0 {
			return fmt.Errorf("a gateway printed:\n%.6000s", log[at:])
		}
	}
	return nil
}
