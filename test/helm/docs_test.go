package helm

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The values in helm/README.md are such that the chart and the gateway take.
func TestReadmeExample(t *testing.T) {
	text, err := os.ReadFile(chart + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\nimage:.*?```").FindString(string(text))
	example := strings.TrimSuffix(strings.TrimPrefix(block, "```yaml\n"), "```")
	list := render(t, values(t, example))
	n := newNode(t, list)
	existing["gateway/redis-url"], existing["gateway/jwt-secret"] = "redis://redis:6379", "a-secret-of-32-bytes-or-more-0123"
	c := deployment(t, list).Spec.Template.Spec.Containers[0]
	if out, err := gatewayCommand(t, n.env(t, c), "check-config").CombinedOutput(); err != nil || strings.Contains(string(out), "warning") {
		t.Errorf("%v: %s", err, out)
	}
}

// The notes say what to do next, and warn of what is not done.
//
// Helm shows them only where it reaches a cluster, so they are rendered as part
// of an object of a copy of the chart.
func TestNotes(t *testing.T) {
	copied := filepath.Join(t.TempDir(), "chart")
	if err := os.CopyFS(copied, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(chart, "templates/NOTES.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(copied, "templates/notes.yaml"), []byte("{{ define \"notes\" }}"+string(text)+"{{ end }}\nnotes: {{ include \"notes\" . | quote }}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		values      string
		says, never []string
	}{
		{"{}", []string{"helm test demo --namespace realtime --logs", "There are no channels yet", "Secrets are among the values", "2 replicas"}, nil},
		{"{redis: {url: {existingSecret: a}}, config: {channels: [{pattern: a, subscribe: public}]}, test: {enabled: false}, autoscaling: {enabled: true}}",
			[]string{"2 to 10 replicas", "/readyz"}, []string{"There are no channels", "Secrets are among", "helm test"}},
	} {
		notes, err := helm("template", release, copied, "--namespace", namespace, "--kube-version", oldest, "--values", values(t, test.values), "--show-only", "templates/notes.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range test.says {
			if !strings.Contains(notes, text) {
				t.Errorf("the notes lack %q:\n%s", text, notes)
			}
		}
		for _, text := range test.never {
			if strings.Contains(notes, text) {
				t.Errorf("the notes have %q:\n%s", text, notes)
			}
		}
	}
}
