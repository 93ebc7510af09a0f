package helm

import (
	"os"
	"strings"
	"testing"
)

// What the chart renders by default and with everything is as it was, so that
// a change of the templates shows what it does. -update writes it anew.
func TestGolden(t *testing.T) {
	for _, name := range []string{"default", "full"} {
		t.Run(name, func(t *testing.T) {
			got, err := template("--values", "testdata/values/"+name+".yaml")
			if err != nil {
				t.Fatal(err)
			}
			got = withoutDashboards(got)
			path := "testdata/" + name + ".golden.yaml"
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got == string(want) {
				return
			}
			gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
			for i := range min(len(gotLines), len(wantLines)) {
				if gotLines[i] != wantLines[i] {
					t.Fatalf("line %d is\n%s\nwas\n%s\nif that is right: make helm-golden", i+1, gotLines[i], wantLines[i])
				}
			}
			t.Fatalf("it has %d lines, had %d; if that is right: make helm-golden", len(gotLines), len(wantLines))
		})
	}
}

// withoutDashboards leaves out the dashboards' JSON, which is in the chart as
// it is.
func withoutDashboards(text string) string {
	var kept []string
	inside := false
	for line := range strings.Lines(text) {
		inside = inside && strings.HasPrefix(line, "    ")
		if !inside {
			kept = append(kept, line)
		}
		if strings.HasSuffix(line, ".json: |\n") {
			inside = true
		}
	}
	return strings.Join(kept, "")
}

func TestLint(t *testing.T) {
	for name, file := range cases(t) {
		t.Run(name, func(t *testing.T) {
			if out, err := helm("lint", "--strict", chart, "--kube-version", oldest, "--values", file); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
