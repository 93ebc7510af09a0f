package helm

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/intstr"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

// expressions are all queries of the chart, by where they are.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	var rules monitoringv1.PrometheusRule
	if !find(t, render(t, "testdata/values/full.yaml", "--set", "metrics.rules.disabled=null"), "PrometheusRule", "", &rules) {
		t.Fatal("there are no rules")
	}
	for _, g := range rules.Spec.Groups {
		for _, r := range g.Rules {
			found[r.Alert+r.Record] = r.Expr.String()
		}
	}
	paths, _ := filepath.Glob(chart + "/dashboards/*.json")
	if len(paths) == 0 {
		t.Fatal("there are no dashboards")
	}
	for _, path := range paths {
		for title, queries := range dashboard(t, path) {
			for i, q := range queries {
				found[filepath.Base(path)+": "+title+" "+strconv.Itoa(i)] = q
			}
		}
	}
	return found
}

// dashboard returns the queries of a dashboard by the titles of its panels.
func dashboard(t *testing.T, path string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID, Title string
		Panels     []struct {
			ID          int
			Type, Title string
			Description string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID == "" || d.Title == "" {
		t.Errorf("%s has no uid or title", path)
	}
	panels, ids := map[string][]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if p.Type == "row" {
			continue
		}
		if ids[p.ID] || panels[p.Title] != nil {
			t.Errorf("%s has two panels %d, %q", path, p.ID, p.Title)
		}
		ids[p.ID] = true
		if len(p.Targets) == 0 || p.Description == "" {
			t.Errorf("%s: panel %q has no query, or says not what it shows", path, p.Title)
		}
		panels[p.Title] = []string{}
		for _, target := range p.Targets {
			panels[p.Title] = append(panels[p.Title], target.Expr)
		}
	}
	return panels
}

var (
	metricName = regexp.MustCompile(`\b(gateway|go|process)_[a-z0-9_]+\b`)
	labelValue = regexp.MustCompile(`\b(reason|limit|lost|result|state|role|source|scope)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
)

// Every metric that an alert or a dashboard names is one of the gateway's, and
// so is every value of its own labels.
func TestMetricsExist(t *testing.T) {
	known := declaredMetrics(t)
	literals := productLiterals(t)
	_, ops := startGateway(t, newNode(t, render(t, "testdata/values/default.yaml")), startRedis(t))
	served, err := get("http://" + ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)^([a-z_0-9]+)[ {]`).FindAllStringSubmatch(served, -1) {
		if name := match[1]; !strings.HasPrefix(name, "gateway_") {
			known[name] = true
		} else if !known[name] {
			t.Errorf("the gateway serves %s, which is not in docs/metrics.md", name)
		}
	}
	for where, query := range expressions(t) {
		for _, name := range metricName.FindAllString(query, -1) {
			if !known[name] {
				t.Errorf("%s asks for %s, which the gateway does not have", where, name)
			}
		}
		for _, match := range labelValue.FindAllStringSubmatch(query, -1) {
			for _, value := range strings.Split(match[3], "|") {
				if !literals[value] {
					t.Errorf("%s asks for %s=%q, which the gateway does not have", where, match[1], value)
				}
			}
		}
	}
}

var metricRow = regexp.MustCompile("(?m)^\\| `(gateway_[a-z_]+)` \\| (counter|gauge|histogram) \\|")

// declaredMetrics are the names of the gateway's metrics as Prometheus sees
// them, by docs/metrics.md, which the product's own tests keep true.
func declaredMetrics(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, row := range metricRow.FindAllStringSubmatch(string(text), -1) {
		for _, suffix := range suffixes(row[2]) {
			known[row[1]+suffix] = true
		}
	}
	if len(known) < 20 {
		t.Fatalf("only %v were found", known)
	}
	return known
}

func suffixes(kind string) []string {
	if kind == "histogram" {
		return []string{"_bucket", "_sum", "_count"}
	}
	return []string{""}
}

func sources(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// productLiterals are all texts in the gateway's source.
func productLiterals(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, dir := range []string{"../../internal", "../../pkg"} {
		for _, path := range sources(t, dir) {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil {
						found[text] = true
					}
				}
				return true
			})
		}
	}
	return found
}

// promtool runs Prometheus' own tool.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("there is no promtool: Debian's package prometheus has it")
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Prometheus takes all queries.
func TestQueriesAreValid(t *testing.T) {
	variables := strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", ".*")
	var rules []monitoringv1.Rule
	for where, query := range expressions(t) {
		rules = append(rules, monitoringv1.Rule{
			Record: "checked:query", Labels: map[string]string{"at": where}, Expr: intstr.FromString(variables.Replace(query)),
		})
	}
	promtool(t, "check", "rules", "--lint=none", rulesFile(t, monitoringv1.PrometheusRuleSpec{Groups: []monitoringv1.RuleGroup{{Name: "queries", Rules: rules}}}))
}

func rulesFile(t *testing.T, spec monitoringv1.PrometheusRuleSpec) string {
	t.Helper()
	text, err := yaml.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return values(t, string(text))
}

// Alerts fire when they should, and only then: testdata/alerts.yaml says when.
func TestAlertsFire(t *testing.T) {
	var rules monitoringv1.PrometheusRule
	find(t, render(t, "testdata/values/default.yaml", "--set", "metrics.rules.enabled=true,tls.existingSecret=t,test.url=https://rt"), "PrometheusRule", "", &rules)
	text, err := os.ReadFile("testdata/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, "test", "rules", values(t, strings.ReplaceAll(string(text), "RULES", rulesFile(t, rules.Spec))))
}

// An alert has what somebody who is woken by it needs.
func TestAlerts(t *testing.T) {
	var rules monitoringv1.PrometheusRule
	find(t, render(t, "testdata/values/full.yaml"), "PrometheusRule", "", &rules)
	for _, r := range rules.Spec.Groups[0].Rules {
		if r.Record != "" {
			continue
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Annotations["runbook_url"] != "https://example.com/runbook.md#"+strings.ToLower(r.Alert) {
			t.Errorf("%s has the annotations %v", r.Alert, r.Annotations)
		}
		if s := r.Labels["severity"]; s != "warning" && s != "critical" || r.Labels["team"] != "realtime" {
			t.Errorf("%s has the labels %v", r.Alert, r.Labels)
		}
		if r.Alert == "GatewayMemory" {
			t.Error("a disabled alert is there")
		}
		if !strings.Contains(r.Expr.String(), `job="demo-events-ops"`) {
			t.Errorf("%s asks for the metrics of all releases: %s", r.Alert, r.Expr.String())
		}
	}
}
