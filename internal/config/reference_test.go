package config

import (
	"os"
	"strings"
	"testing"
)

// The tables of the README follow the registry.
func TestREADMEKnowsEverySetting(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string) // by flag
	var policies string
	for line := range strings.Lines(string(text)) {
		if cell, _, ok := strings.Cut(strings.TrimPrefix(line, "| `--"), "` |"); ok && strings.HasPrefix(line, "| `--") {
			rows[cell] = line
		}
	}
	if _, after, ok := strings.Cut(string(text), "```yaml\nchannels:\n"); ok {
		policies, _, _ = strings.Cut(after, "```")
	}
	for _, s := range Settings() {
		row, ok := rows[s.Name]
		if !ok {
			t.Errorf("README has no row for --%s", s.Name)
			continue
		}
		delete(rows, s.Name)
		for _, want := range []string{s.Env, s.YAML, s.Default, s.DevDefault} {
			if want != "" && !strings.Contains(row, "`"+want+"`") {
				t.Errorf("the row of --%s in README lacks `%s`: %s", s.Name, want, row)
			}
		}
	}
	for name := range rows {
		t.Errorf("README has a row for --%s, which does not exist", name)
	}
	for _, s := range ChannelSettings() {
		if !strings.Contains(policies, s.Name+":") {
			t.Errorf("the policies in README lack %s", s.Name)
		}
	}
}
