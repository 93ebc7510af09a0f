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
	if err := leaks(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
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

// crashes finds what no log may contain.
func crashes(log string) error {
	for _, mark := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if at := strings.Index(log, mark); at >= 0 {
			return fmt.Errorf("a gateway printed:\n%.6000s", log[at:])
		}
	}
	return nil
}
