package helm

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	helmVersion = "v3.22.0"
	chart       = "../../helm"
	// oldest is what Chart.yaml asks for.
	oldest = "1.30.0"
)

var (
	update = flag.Bool("update", false, "write the golden files and the table of helm/README.md anew")
	// helmBinary is Helm.
	helmBinary string
	// scratch is a directory for what tests share.
	scratch string
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		var err error
		if helmBinary, err = installHelm(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if scratch, err = os.MkdirTemp("", "chart"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		return m.Run()
	}())
}

// installHelm builds Helm, unless an earlier run did.
func installHelm() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "realtime-gateway")
	binary := filepath.Join(cache, "helm-"+helmVersion)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(cache, "build")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	install := exec.Command("go", "install", "helm.sh/helm/v3/cmd/helm@"+helmVersion)
	install.Dir = dir
	install.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0")
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build Helm: %w\n%s", err, out)
	}
	// Whole or not at all, also with two runs at a time.
	return binary, os.Rename(filepath.Join(dir, "helm"), binary)
}
