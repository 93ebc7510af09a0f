package pages

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is generated in the documents anew")

// Generated fails the test where the page at a path has something else than want
// between its marks <!-- name: begin --> and <!-- name: end -->. With -update it
// writes want there.
func Generated(t *testing.T, path, name, want string) {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
	before, rest, ok := strings.Cut(string(source), begin)
	had, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks %q or %q", path, begin, end)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+"\n"+strings.TrimSpace(want)+"\n\n"+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, wanted := strings.Split(strings.TrimSpace(had), "\n"), strings.Split(strings.TrimSpace(want), "\n")
	if slices.Equal(have, wanted) {
		return
	}
	for _, line := range wanted {
		if !slices.Contains(have, line) {
			t.Errorf("%s lacks, as make docs would write it,\n%s", path, line)
		}
	}
	for _, line := range have {
		if !slices.Contains(wanted, line) {
			t.Errorf("%s has, and the code has not,\n%s", path, line)
		}
	}
	if !t.Failed() {
		t.Errorf("%s has the lines of %s in another order than the code: run make docs", path, name)
	}
}
