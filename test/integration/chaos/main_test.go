package chaos

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"realtime-gateway/test/integration/harness"
)

// binary is the gateway, unless a test builds its own.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gateway-chaos-")
	if err == nil {
		defer os.RemoveAll(dir)
		binary, err = harness.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	harness.Client.CloseIdleConnections()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}
