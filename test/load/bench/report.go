package main

import (
	_ "embed"
	"fmt"
	"strings"
	"text/template"
	"time"
)

//go:embed report.md.tmpl
var reportText string

var reportTemplate = template.Must(template.New("report").Parse(reportText))

// report is all that is written down.
type report struct {
	machine  machine
	outcomes []*outcome
	hot      string // what `go test -bench` printed, if anything
	rounds   int
	publish  time.Duration
	took     time.Duration
}

type reportRow struct{ Name, Gateway, Baseline, Compared string }

type reportPart struct {
	Title string
	Rows  []reportRow
}

// markdown is the report as it is read.
func (r *report) markdown() (string, error) {
	var parts []reportPart
	for _, o := range r.outcomes {
		p := reportPart{Title: o.title}
		for _, f := range o.figures {
			g, b := o.value(gateway, f), o.value(baseline, f)
			name := f.name
			if f.unit != "" {
				name += ", " + f.unit
			}
			p.Rows = append(p.Rows, reportRow{name, g.String(), b.String(), compare(f, g.median, b.median)})
		}
		parts = append(parts, p)
	}
	var text strings.Builder
	err := reportTemplate.Execute(&text, map[string]any{
		"Machine": r.machine, "Date": r.machine.Date.Format("2006-01-02 15:04"), "Parts": parts,
		"Gateway": r.verdict(gateway), "Baseline": r.verdict(baseline),
		"Hot": strings.TrimSpace(r.hot), "Rounds": r.rounds, "Publish": r.publish.String(), "Took": r.took.Round(time.Second).String(),
	})
	return text.String(), err
}

// verdict says what a server did wrong, over all measurements.
func (r *report) verdict(s side) string {
	var closed int
	var deliveries, lost, repeated, disordered uint64
	for _, o := range r.outcomes {
		l, t, d := o.wrong(s)
		lost, repeated, disordered = lost+l, repeated+t, disordered+d
		for _, result := range o.results[s] {
			deliveries += result.Delivered
			closed += result.Closed
		}
	}
	return fmt.Sprintf("%s deliveries, %s lost, %s twice, %s out of order, %s streams ended early",
		count(int(deliveries)), count(int(lost)), count(int(repeated)), count(int(disordered)), count(closed))
}

// correct is an error unless the gateway delivered everything once, in order.
func (r *report) correct() error {
	for _, o := range r.outcomes {
		if lost, repeated, disordered := o.wrong(gateway); lost+repeated+disordered > 0 {
			return fmt.Errorf("the gateway lost %d, repeated %d and disordered %d deliveries: %s", lost, repeated, disordered, o.title)
		}
	}
	return nil
}
