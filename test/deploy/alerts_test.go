package deploy_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rulesFile is what both the compose file and the chart take their alerts from.
const rulesFile = repository + "/helm/alerts/gateway.yaml"

type alert struct {
	Alert               string
	Expr, For           string
	Labels, Annotations map[string]string
}

func readAlerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []alert
		}
	}
	readYAML(t, rulesFile, &file)
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) == 0 {
		t.Fatalf("%s has %d groups, and the chart takes the only one", rulesFile, len(file.Groups))
	}
	return file.Groups[0].Rules
}

// promtool runs Prometheus' own tool.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// An alert has what somebody who is woken by it needs, and asks for the metrics
// of one job only.
func TestAlerts(t *testing.T) {
	promtool(t, "check", "rules", "--lint-fatal", rulesFile)
	seen := map[string]bool{}
	for _, a := range readAlerts(t) {
		if !strings.HasPrefix(a.Alert, "Gateway") || seen[a.Alert] {
			t.Errorf("%q is twice there, or not called Gateway…", a.Alert)
		}
		seen[a.Alert] = true
		if want := "docs/runbook.md#" + strings.ToLower(a.Alert); a.Annotations["summary"] == "" || a.Annotations["description"] == "" || a.Annotations["runbook_url"] != want {
			t.Errorf("%s has the annotations %v, want a summary, a description and runbook_url %s", a.Alert, a.Annotations, want)
		}
		if s := a.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s has the severity %q, allowed are warning and critical", a.Alert, s)
		}
		for _, s := range selectors(t, a.Expr) {
			if !slices.Contains(matchers(s), `job="gateway"`) {
				t.Errorf(`%s: %s lacks job="gateway", which the chart replaces`, a.Alert, s)
			}
		}
	}
}

// played is what Prometheus saw, and when it is asked what fires.
type played struct {
	At     string
	Series map[string]string
}

// Each alert fires when it should, and not when it nearly should.
func TestAlertsFire(t *testing.T) {
	var stories map[string]struct{ Fires, Quiet played }
	readYAML(t, "testdata/alerts.yaml", &stories)
	absolute, err := filepath.Abs(rulesFile)
	must(t, err)
	replicas := strings.NewReplacer("{J", `{job="gateway",instance="a"`, "{K", `{job="gateway",instance="b"`)
	var tests []any
	add := func(name, alert string, p played, firing int) {
		if len(p.Series) == 0 || p.At == "" {
			t.Errorf("%s: nothing is played, or it is not said when to look", name)
		}
		var series []map[string]string
		for _, s := range slices.Sorted(maps.Keys(p.Series)) {
			series = append(series, map[string]string{"series": replicas.Replace(s), "values": p.Series[s]})
		}
		tests = append(tests, map[string]any{"name": name, "interval": "30s", "input_series": series, "promql_expr_test": []any{map[string]any{
			"expr": fmt.Sprintf(`(count(ALERTS{alertstate="firing",alertname=%q}) or vector(0)) > bool 0`, alert), "eval_time": p.At,
			"exp_samples": []any{map[string]any{"labels": "{}", "value": firing}},
		}}})
	}
	for _, a := range readAlerts(t) {
		story, ok := stories[a.Alert]
		if !ok {
			t.Errorf("%s is not played", a.Alert)
		}
		delete(stories, a.Alert)
		add(a.Alert+" fires", a.Alert, story.Fires, 1)
		add(a.Alert+" is quiet", a.Alert, story.Quiet, 0)
	}
	for name := range stories {
		t.Errorf("%s is played, and there is no such alert", name)
	}
	text, err := yaml.Marshal(map[string]any{"rule_files": []string{absolute}, "evaluation_interval": "30s", "tests": tests})
	must(t, err)
	file := filepath.Join(t.TempDir(), "tests.yaml")
	must(t, os.WriteFile(file, text, 0o600))
	promtool(t, "test", "rules", file)
}
