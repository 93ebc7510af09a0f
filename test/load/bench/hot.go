package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// hotPaths runs the Go benchmarks of packages and returns what they printed, or
// nothing where there are none.
func hotPaths(ctx context.Context, packages []string) (string, error) {
	if len(packages) == 0 {
		return "", nil
	}
	args := append([]string{"test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", "0.2s"}, packages...)
	out, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s%s", err, out, exit.Stderr)
		}
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return benchmarkLines(string(out)), nil
}

// benchmarkLines keeps the results, each under the name of its package.
func benchmarkLines(out string) string {
	var kept strings.Builder
	var pkg string
	for line := range strings.Lines(out) {
		switch {
		case strings.HasPrefix(line, "pkg: "):
			pkg = line
		case strings.HasPrefix(line, "Benchmark"):
			kept.WriteString(pkg)
			kept.WriteString(line)
			pkg = ""
		}
	}
	return kept.String()
}
