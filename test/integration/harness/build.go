package harness

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// Build compiles the gateway with the race detector into dir and returns the
// binary's path.
func Build(dir string) (string, error) {
	binary := filepath.Join(dir, "gateway")
	out, err := exec.Command("go", "build", "-race", "-o", binary, "realtime-gateway/cmd/gateway").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
	return binary, nil
}
