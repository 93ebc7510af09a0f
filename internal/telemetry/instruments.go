package telemetry

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

var background = context.Background()

// other is the value of a label for what its set does not have: a reason that
// somebody forgot to list is still counted.
const other = "other"

// instruments are those of Metrics that are told of what happens. Read only once
// made.
type instruments struct {
	counters   map[string]*counter
	histograms map[string]*histogram
	gauges     map[string]*gauge
}

// sets are a label's values, made once.
type sets map[string]metric.MeasurementOption

func newSets(m *Metric) sets {
	s := make(sets, len(m.Values)+1)
	for _, v := range append([]string{other}, m.Values...) {
		s[v] = metric.WithAttributeSet(attribute.NewSet(attribute.String(m.Label, v)))
	}
	return s
}

func (s sets) of(value string) metric.MeasurementOption {
	if o, ok := s[value]; ok {
		return o
	}
	return s[other]
}

// counter is a Counter of Metrics.
type counter struct {
	metric.Int64Counter
	sets sets // nil where there is no label
}

// add counts n for the value of the label, or without where there is none.
func (c *counter) add(value string, n int) {
	if c.sets == nil {
		c.Add(background, int64(n))
		return
	}
	c.Add(background, int64(n), c.sets.of(value))
}

// one returns what counts one of a counter without label.
func (c *counter) one() func() { return func() { c.Add(background, 1) } }

// histogram is a Histogram of Metrics.
type histogram struct{ metric.Float64Histogram }

// gauge is a Gauge of Metrics that is told its value.
type gauge struct {
	metric.Int64Gauge
	sets sets
}

func (g *gauge) set(value string, n int) {
	if g.sets == nil {
		g.Record(background, int64(n))
		return
	}
	g.Record(background, int64(n), g.sets.of(value))
}

// Buckets of histograms, in seconds.
var (
	fine = metric.WithExplicitBucketBoundaries(.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
	long = metric.WithExplicitBucketBoundaries(1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 4*3600, 24*3600)
)

func newInstruments(meter metric.Meter) (*instruments, error) {
	t := &instruments{make(map[string]*counter), make(map[string]*histogram), make(map[string]*gauge)}
	var errs []error
	for i := range Metrics {
		m := &Metrics[i]
		help, unit := metric.WithDescription(m.Help), metric.WithUnit(m.Unit)
		var labels sets
		if m.Label != "" {
			labels = newSets(m)
		}
		var err error
		switch {
		case m.Kind == Counter:
			c := &counter{sets: labels}
			c.Int64Counter, err = meter.Int64Counter(m.Name, help, unit)
			t.counters[m.Name] = c
			each(m, func(value string) { c.add(value, 0) })
		case m.Kind == Histogram:
			h := &histogram{}
			buckets := fine
			if m.Name == "gateway.stream.lifetime" {
				buckets = long
			}
			h.Float64Histogram, err = meter.Float64Histogram(m.Name, help, unit, buckets)
			t.histograms[m.Name] = h
		case !m.read:
			g := &gauge{sets: labels}
			g.Int64Gauge, err = meter.Int64Gauge(m.Name, help, unit)
			t.gauges[m.Name] = g
			each(m, func(value string) { g.set(value, 0) })
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	return t, nil
}

// each calls do for every series of a metric.
func each(m *Metric, do func(value string)) {
	if m.Label == "" {
		do("")
	}
	for _, v := range m.Values {
		do(v)
	}
}

// find returns the description of a metric, which must exist.
func find(name string) *Metric {
	for i := range Metrics {
		if Metrics[i].Name == name {
			return &Metrics[i]
		}
	}
	panic("telemetry: no metric " + name)
}

// observe has gauges read when metrics are collected, all by one call of read.
func observe(meter metric.Meter, names []string, read func() []int64) error {
	gauges := make([]metric.Int64ObservableGauge, len(names))
	list := make([]metric.Observable, len(names))
	for i, name := range names {
		m := find(name)
		g, err := meter.Int64ObservableGauge(m.Name, metric.WithDescription(m.Help), metric.WithUnit(m.Unit))
		if err != nil {
			return fmt.Errorf("telemetry: %w", err)
		}
		gauges[i], list[i] = g, g
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i, n := range read() {
			o.ObserveInt64(gauges[i], n)
		}
		return nil
	}, list...)
	if err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	return nil
}
