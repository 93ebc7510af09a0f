//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Go raises the soft limit for itself, and gives it back to its children: that
// is what limits rely on.
func TestGoRaisesTheDescriptorLimit(t *testing.T) {
	const inside = "GATEWAY_TEST_INSIDE"
	if os.Getenv(inside) != "" {
		soft, hard := openFiles()
		child, err := exec.Command("sh", "-c", "ulimit -Sn").Output()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("files %d of %d, a child's %s\n", soft, hard, strings.TrimSpace(string(child)))
		return
	}
	cmd := exec.Command("sh", "-c", `ulimit -Sn 100 && ulimit -Hn 500 && exec "$0" -test.run='^TestGoRaisesTheDescriptorLimit$'`, os.Args[0])
	cmd.Env = append(os.Environ(), inside+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "files 499 of 500, a child's 100\n"; !strings.Contains(string(out), want) {
		t.Errorf("got %q, want %q", out, want)
	}
}
