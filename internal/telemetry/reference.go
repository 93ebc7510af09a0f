package telemetry

import (
	"fmt"
	"strings"
)

// Reference returns the table of all metrics for docs/metrics.md, in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | unit | meaning |\n| --- | --- | --- | --- | --- |\n")
	for i := range Metrics {
		m := &Metrics[i]
		label := ""
		if m.Label != "" {
			label = fmt.Sprintf("`%s`: `%s`", m.Label, strings.Join(m.Values, "`, `"))
		}
		help := m.Help
		if m.Only != "" {
			help += " Only " + m.Only + "."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.Series(), m.Kind, label, m.unit(), help)
	}
	return b.String()
}

// unit is the metric's unit in words.
func (m *Metric) unit() string {
	switch m.Unit {
	case unitSeconds:
		return "seconds"
	case unitBytes:
		return "bytes"
	case unitNone:
		return ""
	}
	return strings.Trim(m.Unit, "{}") + "s"
}
