package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// parseQuery parses PromQL with Prometheus' own parser.
func parseQuery(t *testing.T, query string) parser.Expr {
	t.Helper()
	expr, err := parser.ParseExpr(query)
	if err != nil {
		t.Fatalf("%v in %s", err, query)
	}
	return expr
}

// selectors are what a query asks for.
func selectors(t *testing.T, query string) (list []*parser.VectorSelector) {
	t.Helper()
	parser.Inspect(parseQuery(t, query), func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			list = append(list, s)
		}
		return nil
	})
	return list
}

// matchers are a selector's conditions as text, the name aside.
func matchers(s *parser.VectorSelector) (list []string) {
	for _, m := range s.LabelMatchers {
		if m.Name != model.MetricNameLabel {
			list = append(list, m.String())
		}
	}
	return list
}

// series is what docs/metrics.md says of one name that Prometheus has, which the
// product's own tests keep true.
type series struct {
	kind   string
	label  string
	values []string
}

var metricRow = regexp.MustCompile("(?m)^\\| `(gateway_[a-z_]+)` \\| (counter|gauge|histogram) \\| (?:`([a-z]+)`: ([^|]*))?")

func documentedSeries(t *testing.T) map[string]series {
	t.Helper()
	text, err := os.ReadFile(repository + "/docs/metrics.md")
	must(t, err)
	known := map[string]series{}
	for _, row := range metricRow.FindAllStringSubmatch(string(text), -1) {
		s := series{kind: row[2], label: row[3]}
		for value := range strings.SplitSeq(row[4], ",") {
			if value = strings.Trim(value, " `"); value != "" {
				s.values = append(s.values, value)
			}
		}
		switch s.kind {
		case "histogram":
			known[row[1]+"_sum"], known[row[1]+"_count"] = s, s
			s.label = "le"
			known[row[1]+"_bucket"] = s
		default:
			known[row[1]] = s
		}
	}
	if rows := strings.Count(string(text), "\n| `gateway_"); len(known) < rows || rows == 0 {
		t.Fatalf("read %d series of %d metrics", len(known), rows)
	}
	// Its labels have a value each for whatever it was built from.
	known["gateway_build_info"] = series{kind: "gauge", label: "version"}
	return known
}

// targetLabels are those that Prometheus gives to all series of a target.
var targetLabels = []string{"job", "instance", "namespace", "pod"}

// checkQuery finds what a query asks for that the gateway does not have.
func checkQuery(t *testing.T, known map[string]series, where, query string) {
	t.Helper()
	var own []string // labels that what is asked for has
	for _, s := range selectors(t, query) {
		if !strings.HasPrefix(s.Name, "gateway_") {
			if s.Name != "up" && !strings.HasPrefix(s.Name, "go_") && !strings.HasPrefix(s.Name, "process_") {
				t.Errorf("%s asks for %s, which is nobody's", where, s.Name)
			}
			continue // the live run asks Prometheus for them
		}
		m, ok := known[s.Name]
		if !ok {
			t.Errorf("%s asks for %s, which the gateway does not have", where, s.Name)
			continue
		}
		own = append(own, m.label)
		for _, l := range s.LabelMatchers {
			switch {
			case l.Name == model.MetricNameLabel || slices.Contains(targetLabels, l.Name):
			case l.Name != m.label:
				t.Errorf("%s asks %s for the label %s, it has %q", where, s.Name, l.Name, m.label)
			default:
				for value := range strings.SplitSeq(l.Value, "|") {
					if !slices.Contains(m.values, value) {
						t.Errorf("%s asks for %s{%s=%q}, it has %q", where, s.Name, l.Name, value, m.values)
					}
				}
			}
		}
	}
	parser.Inspect(parseQuery(t, query), func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			for _, l := range a.Grouping {
				if !slices.Contains(targetLabels, l) && !slices.Contains(own, l) {
					t.Errorf("%s groups by %s, which nothing in it has: %s", where, l, query)
				}
			}
		}
		return nil
	})
}

// What alerts and panels ask for is there, with these labels and values.
func TestQueriesAskForWhatIsThere(t *testing.T) {
	known := documentedSeries(t)
	for _, a := range readAlerts(t) {
		checkQuery(t, known, a.Alert, a.Expr)
	}
	for _, p := range readPanels(t) {
		for _, target := range p.Targets {
			checkQuery(t, known, p.Title, grafana.Replace(target.Expr))
		}
	}
}

// What a panel or an alert asks for at least once, so that no metric is there
// that nobody would ever see.
func TestEveryMetricIsShown(t *testing.T) {
	shown := map[string]bool{}
	for _, p := range readPanels(t) {
		for _, target := range p.Targets {
			for _, s := range selectors(t, grafana.Replace(target.Expr)) {
				shown[s.Name] = true
			}
		}
	}
	for name, s := range documentedSeries(t) {
		if s.kind == "histogram" && s.label != "le" {
			continue
		}
		if !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// grafana puts values in place of the dashboards' variables.
var grafana = strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$namespace", ".*", "$job", ".*", "$instance", ".*")

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ UID string }
	GridPos                  struct{ H, W, X, Y int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct{ Expr, LegendFormat string }
}

type dashboard struct {
	UID, Title string
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []panel
}

func readDashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	paths, err := filepath.Glob(repository + "/helm/dashboards/*.json")
	must(t, err)
	if len(paths) == 0 {
		t.Fatal("there are no dashboards")
	}
	all := map[string]dashboard{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		must(t, err)
		var d dashboard
		must(t, json.Unmarshal(text, &d))
		all[filepath.Base(path)] = d
	}
	return all
}

// readPanels are the panels of all dashboards, rows aside.
func readPanels(t *testing.T) (list []panel) {
	t.Helper()
	for _, d := range readDashboards(t) {
		for _, p := range d.Panels {
			if p.Type != "row" {
				list = append(list, p)
			}
		}
	}
	return list
}

var labelValues = regexp.MustCompile(`^label_values\((.*), ([a-z]+)\)$`)

var templateVariable = regexp.MustCompile(`\$\{?([a-z]+)`)

// A panel says what it shows and in which unit, follows the variables of its
// dashboard, and lies over no other.
func TestDashboards(t *testing.T) {
	for file, d := range readDashboards(t) {
		if d.UID == "" || d.Title == "" {
			t.Errorf("%s has no uid or title", file)
		}
		variables := map[string]bool{}
		for _, v := range d.Templating.List {
			variables[v.Name] = true
			if v.Type != "query" {
				continue
			}
			m := labelValues.FindStringSubmatch(v.Definition)
			if m == nil || !slices.Contains(targetLabels, m[2]) {
				t.Fatalf("%s: the variable %s asks %q", file, v.Name, v.Definition)
			}
			checkQuery(t, documentedSeries(t), "the variable "+v.Name, grafana.Replace(m[1]))
		}
		ids, titles, taken := map[int]bool{}, map[string]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			if ids[p.ID] || titles[p.Title] {
				t.Errorf("%s has two panels %d, %q", file, p.ID, p.Title)
			}
			ids[p.ID], titles[p.Title] = true, true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
						t.Fatalf("%s: %q lies over %q, or outside", file, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			if len(p.Targets) == 0 || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" {
				t.Errorf("%s: %q lacks a query, a description, a unit or the data source", file, p.Title)
			}
			for _, target := range p.Targets {
				for _, v := range templateVariable.FindAllStringSubmatch(target.Expr, -1) {
					if !variables[v[1]] {
						t.Errorf("%s: %q uses the variable %s, which there is not", file, p.Title, v[0])
					}
				}
				for _, s := range selectors(t, grafana.Replace(target.Expr)) {
					for _, label := range []string{"namespace", "job", "instance"} {
						if !slices.Contains(matchers(s), label+`=~".*"`) {
							t.Errorf("%s: %q asks %s of every %s, not of the chosen one", file, p.Title, s.Name, label)
						}
					}
				}
			}
		}
	}
}
