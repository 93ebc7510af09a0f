package test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A vulnerability fails the build, and a check that could not be made neither
// fails it nor looks like a pass.
func TestVulnerabilityVerdicts(t *testing.T) {
	const unreachable = "govulncheck: fetching vulnerabilities: Get \"https://vuln.go.dev/index/modules.json.gz\": dial tcp: no such host"
	for _, tt := range []struct {
		name    string
		install string // what "go install" does
		tool    string // what govulncheck does
		status  int
		verdict string // how the last line begins
	}{
		{"none", "", "echo 'No vulnerabilities found.'", 0, "VULNERABILITIES: none known"},
		{"found", "", "echo 'Your code is affected by 1 vulnerability.'; exit 3", 1, "VULNERABILITIES: FOUND"},
		{"found, and speaks of fetching", "", "echo '" + unreachable + "'; exit 3", 1, "VULNERABILITIES: FOUND"},
		{"database unreachable", "", "echo '" + unreachable + "' >&2; exit 1", 0, "VULNERABILITIES: NOT CHECKED: " + unreachable},
		{"tool cannot be fetched", "echo 'go: reading https://proxy.golang.org/x: 403 Forbidden' >&2; exit 1", "", 0, "VULNERABILITIES: NOT CHECKED: govulncheck v0 cannot be had (status 1): go: reading"},
		{"tool not there after all", "exit 0", "", 0, "VULNERABILITIES: NOT CHECKED: govulncheck v0 cannot be had"},
		{"not done in time", "", "exit 124", 0, "VULNERABILITIES: NOT CHECKED: govulncheck was not done"},
		{"code that does not build", "", "echo 'govulncheck: loading packages: undefined: x' >&2; exit 1", 1, "VULNERABILITIES: the check went wrong (status 1)"},
		{"wrong use", "", "exit 2", 1, "VULNERABILITIES: the check went wrong (status 2)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.install == "" {
				tt.install = `cp "$(dirname "$0")/fake" "$GOBIN/govulncheck"`
			}
			dir := t.TempDir()
			for name, script := range map[string]string{"go": tt.install, "fake": tt.tool} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("./vuln.sh", "v0", "./...")
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			status := 0
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				status = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if last := lines[len(lines)-1]; status != tt.status || !strings.HasPrefix(last, tt.verdict) {
				t.Errorf("status %d, want %d; the last line is %q, want %q…\n%s", status, tt.status, last, tt.verdict, out)
			}
			if strings.Contains(string(out), "NOT CHECKED") != strings.Contains(tt.verdict, "NOT CHECKED") {
				t.Errorf("NOT CHECKED is not what the verdict says:\n%s", out)
			}
		})
	}
}
