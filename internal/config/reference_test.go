package config

import (
	"os"
	"strings"
	"testing"

	"realtime-gateway/internal/pages"
)

const (
	referencePage = "../../docs/configuration.md"
	readme        = "../../README.md"
)

// docs/configuration.md says what the code does; make docs writes it.
func TestTheReferenceIsCurrent(t *testing.T) {
	pages.Generated(t, referencePage, "settings", Reference())
	pages.Generated(t, referencePage, "policies", PolicyReference())
}

// Every setting is below a heading, and every heading has settings.
func TestTheReferenceHasEverySetting(t *testing.T) {
	text := Reference()
	if !strings.HasPrefix(text, "\n### ") {
		t.Errorf("the first setting is below no heading: %.80s", text)
	}
	for _, s := range Settings() {
		if strings.Count(text, "| `--"+s.Name+"`<br>`"+s.Env+"`") != 1 {
			t.Errorf("--%s is not there once", s.Name)
		}
	}
	for _, section := range sections {
		if !strings.Contains(text, "### "+section.title+"\n") {
			t.Errorf("there is no setting %s for the heading %s", section.first, section.title)
		}
	}
	for name := range live {
		named(name)
	}
}

// The README has the most important settings. What it says of them is right, and
// it has all keys of a channel policy.
func TestREADMEKnowsTheSettings(t *testing.T) {
	source, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	text, rows := string(source), 0
	for line := range strings.Lines(text) {
		name, _, ok := strings.Cut(strings.TrimPrefix(line, "| `--"), "` |")
		if !ok || !strings.HasPrefix(line, "| `--") {
			continue
		}
		rows++
		s := find(func(s *setting) bool { return s.Name == name })
		if s == nil {
			t.Errorf("README has a row for --%s, which does not exist", name)
			continue
		}
		for _, want := range []string{s.Env, s.YAML, s.Default, s.DevDefault} {
			if want != "" && !strings.Contains(line, "`"+want+"`") {
				t.Errorf("the row of --%s in README lacks `%s`: %s", s.Name, want, line)
			}
		}
	}
	if rows == 0 {
		t.Error("README has no settings")
	}
	_, after, _ := strings.Cut(text, "```yaml\nchannels:\n")
	policies, _, _ := strings.Cut(after, "```")
	for _, s := range ChannelSettings() {
		if !strings.Contains(policies, s.Name+":") {
			t.Errorf("the policies in README lack %s", s.Name)
		}
	}
}
