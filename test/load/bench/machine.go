package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// machine is what figures depend on besides the code.
type machine struct {
	CPU, Kernel, Go, Redis, Commit, Load string
	Cores                                int
	Memory                               string
	Date                                 time.Time
}

func describe(ctx context.Context, now time.Time) machine {
	m := machine{
		CPU: "unknown", Kernel: "unknown", Redis: "unknown", Commit: "unknown", Load: "unknown", Memory: "unknown",
		Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Date: now.UTC(),
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if v := after(text, "model name", ":"); v != "" {
			m.CPU = v
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscan(after(text, "MemTotal", ":"), &kib); err == nil {
			m.Memory = fmt.Sprintf("%.0f GiB", float64(kib)/(1<<20))
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(text), " ")
	}
	if text, err := exec.CommandContext(ctx, "redis-server", "--version").Output(); err == nil {
		if v := after(bytes.ReplaceAll(text, []byte(" "), []byte("\n")), "v", "="); v != "" {
			m.Redis = v
		}
	}
	if text, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(text))
		// The report itself is what changes with every run.
		changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", ":/", ":(top,exclude)docs/benchmarks").Output()
		if err != nil || len(changed) > 0 {
			m.Commit += ", with changes"
		}
	}
	return m
}

// after finds the line that begins with name, and returns what follows the mark.
func after(text []byte, name, mark string) string {
	for line := range strings.Lines(string(text)) {
		key, v, ok := strings.Cut(line, mark)
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
