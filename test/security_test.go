package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)

// testsOf lists the tests of every package, by the name of its directory.
func testsOf(t *testing.T, root string) map[string]map[string]bool {
	t.Helper()
	all, dirs := make(map[string]map[string]bool), make(map[string]string)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir, name := filepath.Dir(path), filepath.Base(filepath.Dir(path))
		if other, known := dirs[name]; known && other != dir {
			t.Errorf("%s and %s have one name, so a row could mean either", other, dir)
		}
		if dirs[name] = dir; all[name] == nil {
			all[name] = make(map[string]bool)
		}
		text, err := os.ReadFile(path)
		for _, match := range testFunction.FindAllSubmatch(text, -1) {
			all[name][string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// threats reads the table of threats: rows of five cells.
func threats(t *testing.T, text string) (rows [][]string) {
	t.Helper()
	_, section, _ := strings.Cut(text, "\n## Threats\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	if len(rows) < 3 || rows[0][0] != "asset" || !strings.HasPrefix(rows[1][0], "---") {
		t.Fatal("SECURITY.md has no table of threats")
	}
	return rows[2:]
}

// Every threat in SECURITY.md names what stops it and tests that are there, and
// every test of attacks stands for a threat.
func TestThreatModel(t *testing.T) {
	text, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	known, cited := testsOf(t, ".."), make(map[string]bool)
	for _, row := range threats(t, string(text)) {
		where := strings.Join(row, " | ")
		if strings.HasPrefix(row[0], "**") && strings.Join(row[1:], "") == "" {
			continue // a heading
		}
		if len(row) != 5 {
			t.Errorf("a row has %d cells, want 5: %s", len(row), where)
			continue
		}
		for i, cell := range row {
			if cell == "" {
				t.Errorf("cell %d is empty: %s", i+1, where)
			}
		}
		tests := row[4]
		if reason, none := strings.CutPrefix(tests, "none:"); none {
			if strings.TrimSpace(reason) == "" {
				t.Errorf("a row without a test does not say why: %s", where)
			}
			continue
		}
		for part := range strings.SplitSeq(tests, ";") {
			pkg, names, found := strings.Cut(part, ":")
			pkg = strings.TrimSpace(pkg)
			if !found || known[pkg] == nil {
				t.Errorf("%q is not a package's directory with a colon and tests behind it: %s", part, where)
				continue
			}
			for name := range strings.SplitSeq(names, ",") {
				name = strings.TrimSpace(name)
				if !known[pkg][name] {
					t.Errorf("package %s has no test %q: %s", pkg, name, where)
				}
				cited[pkg+": "+name] = true
			}
		}
	}
	for name := range known["integration"] {
		if strings.HasPrefix(name, "TestSecurity") && !cited["integration: "+name] {
			t.Errorf("SECURITY.md does not say which threat %s is about", name)
		}
	}
}
