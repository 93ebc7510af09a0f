package helm

import (
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

// plainRules are the alerts as the chart finds them, which test/deploy plays.
func plainRules(t *testing.T) []monitoringv1.Rule {
	t.Helper()
	text, err := os.ReadFile(chart + "/alerts/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Groups[0].Rules
}

func renderedRules(t *testing.T, file string, args ...string) monitoringv1.PrometheusRuleSpec {
	t.Helper()
	var rules monitoringv1.PrometheusRule
	if !find(t, render(t, file, args...), "PrometheusRule", "", &rules) {
		t.Fatal("there are no rules")
	}
	return rules.Spec
}

// Without values the chart's alerts are those of the file, all of them.
func TestRulesAreTheFile(t *testing.T) {
	got := renderedRules(t, "testdata/values/default.yaml", "--set", "metrics.rules.enabled=true", "--set-literal", `metrics.rules.selector=job="gateway"`).Groups[0].Rules
	want := plainRules(t)
	if len(got) != len(want) {
		t.Fatalf("%d rules, the file has %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("rendered is\n%+v\nthe file has\n%+v", got[i], want[i])
		}
	}
}

// The values that are limits take the place of the number at the end, each in
// some alerts, and nothing else changes.
func TestRuleLimits(t *testing.T) {
	for value, limit := range map[string]string{
		"lateSeconds": "2.5", "gapsPerSecond": "40", "refusedPerSecond": "0.25", "webhookFailures": "0.5", "certificateDays": "30",
	} {
		changed := 0
		rules := renderedRules(t, "testdata/values/default.yaml", "--set", "metrics.rules.enabled=true", "--set-literal", `metrics.rules.selector=job="gateway"`,
			"--set-json", "metrics.rules."+value+"="+limit).Groups[0].Rules
		last := regexp.MustCompile(`[0-9.]+$`)
		for i, want := range plainRules(t) {
			switch got := rules[i].Expr.String(); got {
			case want.Expr.String():
			case last.ReplaceAllLiteralString(want.Expr.String(), limit):
				changed++
			default:
				t.Errorf("with %s of %s, %s is %s", value, limit, want.Alert, got)
			}
		}
		if changed == 0 {
			t.Errorf("%s changes nothing", value)
		}
	}
}

// Alerts ask for this release's metrics only, carry the labels and the runbook
// of the values, and leave out what is disabled. Prometheus takes them.
func TestRuleValues(t *testing.T) {
	spec := renderedRules(t, "testdata/values/full.yaml")
	alerts := 0
	for _, r := range spec.Groups[0].Rules {
		if r.Record != "" {
			continue
		}
		alerts++
		if got, want := r.Annotations["runbook_url"], "https://example.com/runbook.md#"+strings.ToLower(r.Alert); got != want {
			t.Errorf("the runbook of %s is %s, want %s", r.Alert, got, want)
		}
		if r.Labels["severity"] == "" || r.Labels["team"] != "realtime" {
			t.Errorf("%s has the labels %v", r.Alert, r.Labels)
		}
		if r.Alert == "GatewayMemory" {
			t.Error("a disabled alert is there")
		}
		if expr := r.Expr.String(); !strings.Contains(expr, `{namespace="realtime",job="demo-events-ops"`) || strings.Contains(expr, `job="gateway"`) {
			t.Errorf("%s asks for the metrics of others: %s", r.Alert, expr)
		}
	}
	if want := len(plainRules(t)) - 1; alerts != want {
		t.Errorf("%d alerts, want %d", alerts, want)
	}
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("there is no promtool: Debian's package prometheus has it")
	}
	text, err := yaml.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, "check", "rules", values(t, string(text))).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
