package deploy_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// section is what the runbook says about one alert.
type section struct{ alert, text string }

func readRunbook(t *testing.T) (intro string, list []section) {
	t.Helper()
	text, err := os.ReadFile(repository + "/docs/runbook.md")
	must(t, err)
	intro, rest, _ := strings.Cut(string(text), "\n## ")
	for part := range strings.SplitSeq(rest, "\n## ") {
		alert, text, _ := strings.Cut(part, "\n")
		list = append(list, section{alert, text})
	}
	return intro, list
}

// Each alert has a section, in the order of the file, and each section an alert.
// It answers what is asked at night.
func TestRunbookIsOfTheAlerts(t *testing.T) {
	_, sections := readRunbook(t)
	var have, want []string
	for _, s := range sections {
		have = append(have, s.alert)
		at := 0
		for _, part := range []string{"**Clients**", "**See**", "**Causes**", "**Do**", "**Over**"} {
			i := strings.Index(s.text[at:], "\n"+part)
			if i < 0 {
				t.Errorf("%s has no %s, or not in this order", s.alert, part)
				break
			}
			at += i
		}
	}
	for _, a := range readAlerts(t) {
		want = append(want, a.Alert)
	}
	if !slices.Equal(have, want) {
		t.Errorf("the runbook has sections for\n%q\nthe alerts are\n%q", have, want)
	}
}

var (
	codeBlock   = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	inlineCode  = regexp.MustCompile("`([^`\n]+)`")
	italics     = regexp.MustCompile(`\*([A-Z][^*\n]*)\*`)
	flagName    = regexp.MustCompile(`^--([a-z-]+)$`)
	policyKey   = regexp.MustCompile(`^[a-z]+[A-Z][A-Za-z]*$`)
	opsPath     = regexp.MustCompile(`\$OPS(/[a-z0-9/]+)`)
	ownMetric   = regexp.MustCompile(`\bgateway_[a-z_]+`)
	ownCommand  = regexp.MustCompile(`(?m)^gateway ([a-z-]+)`)
	inlineOwn   = regexp.MustCompile(`^gateway ([a-z-]+)`)
	ownCommands = regexp.MustCompile(`(?m)^  ([a-z-]+) +[A-Z]`)
	logLine     = regexp.MustCompile("(?:[Tt]he log(?: says|:)|that log)\\s+`([^`]+)`")
)

// What the runbook tells people to look at and to turn is there: queries,
// metrics, panels, paths, commands, settings, and the lines of the log.
func TestRunbookNamesWhatIsThere(t *testing.T) {
	intro, sections := readRunbook(t)
	run := exec.Command("go", "run", "./cmd/gateway", "help")
	run.Dir = repository
	help, err := run.CombinedOutput()
	must(t, err)
	var commands, panels []string
	for _, m := range ownCommands.FindAllStringSubmatch(string(help), -1) {
		commands = append(commands, m[1])
	}
	for _, p := range readPanels(t) {
		panels = append(panels, p.Title)
	}
	known, said := documentedSeries(t), source(t)
	for _, s := range append(sections, section{"the introduction", intro}) {
		command := func(name string) {
			if !slices.Contains(commands, name) {
				t.Errorf("%s: there is no command gateway %s, there are %q", s.alert, name, commands)
			}
		}
		for _, block := range codeBlock.FindAllStringSubmatch(s.text, -1) {
			switch language, code := block[1], block[2]; language {
			case "promql":
				checkQuery(t, known, s.alert, code)
			case "sh":
				for _, m := range opsPath.FindAllStringSubmatch(code, -1) {
					if !strings.Contains(said, m[1]+`"`) {
						t.Errorf("%s asks for %s, which the operations port does not serve", s.alert, m[1])
					}
				}
				for _, m := range ownCommand.FindAllStringSubmatch(code, -1) {
					command(m[1])
				}
				for _, name := range ownMetric.FindAllString(code, -1) {
					checkName(t, known, s.alert, name)
				}
			default:
				t.Errorf("%s has a block of %q, allowed are promql and sh", s.alert, language)
			}
		}
		prose := codeBlock.ReplaceAllString(s.text, "")
		for _, m := range inlineCode.FindAllStringSubmatch(prose, -1) {
			word := m[1]
			switch {
			case strings.HasPrefix(word, "gateway_"):
				checkName(t, known, s.alert, word)
			case inlineOwn.MatchString(word):
				command(inlineOwn.FindStringSubmatch(word)[1])
			case flagName.MatchString(word):
				if !strings.Contains(string(help), "  "+word+" ") {
					t.Errorf("%s: there is no setting %s", s.alert, word)
				}
			case policyKey.MatchString(word):
				if !strings.Contains(said, `"`+word+`"`) {
					t.Errorf("%s: there is no %s of a policy", s.alert, word)
				}
			}
		}
		for _, m := range logLine.FindAllStringSubmatch(prose, -1) {
			if !strings.Contains(said, m[1]) {
				t.Errorf("%s: the gateway never logs %q", s.alert, m[1])
			}
		}
		for _, m := range italics.FindAllStringSubmatch(strings.ReplaceAll(prose, "**", ""), -1) {
			if !slices.Contains(panels, m[1]) {
				t.Errorf("%s: the dashboard has no panel %q", s.alert, m[1])
			}
		}
	}
}

// checkName finds a metric that the gateway does not have.
func checkName(t *testing.T, known map[string]series, where, name string) {
	t.Helper()
	if _, ok := known[name]; !ok {
		if _, ok := known[name+"_bucket"]; !ok {
			t.Errorf("%s names %s, which the gateway does not have", where, name)
		}
	}
}

// source is the gateway's code.
func source(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{"cmd", "internal", "pkg"} {
		must(t, filepath.WalkDir(filepath.Join(repository, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			all.Write(text)
			return err
		}))
	}
	return all.String()
}
