// Package interop_test lets other people's clients consume the gateway: the
// built binary, real Redis, a load balancer, and public clients as they come
// from their registries. docs/clients.md says what these tests show.
//
// The Go clients are in goclients, the JavaScript ones in web, among them the
// EventSource of a real Chromium. Each is a program that is told what to
// subscribe to and says what it heard; see host_test.go. `make interop` installs
// what they need.
package interop_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// gateway is the binary under test, goClients the program of the Go clients.
var gateway, goClients string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gateway-interop-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := closeHosts(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func build(dir string) error {
	if _, err := os.Stat("web/node_modules"); errors.Is(err, os.ErrNotExist) {
		return errors.New("the JavaScript clients are not installed: run make interop, or npm ci in test/interop/web")
	}
	var err error
	if gateway, err = harness.Build(dir); err != nil {
		return err
	}
	goClients = filepath.Join(dir, "goclients")
	out, err := exec.Command("go", "build", "-C", "goclients", "-o", goClients, ".").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the Go clients: %w\n%s", err, out)
	}
	return nil
}
