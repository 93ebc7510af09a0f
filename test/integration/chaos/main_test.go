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
	if code == 0 {
		if err := leaks(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// leaks finds goroutines that nobody ends.
func leaks() error {
	ours := []goleak.Option{
		// toxiproxy leaves those of a connection behind that was closed while
		// something was on its way to it.
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
	}
	// A closed client of a dead server finds out within a second.
	return harness.Until("every goroutine ends", harness.Deadline, func() error { return goleak.Find(ours...) })
}
