package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/load"
)

// made is an outcome of every scenario with invented results.
func made() []*outcome {
	var all []*outcome
	for _, s := range scenarios(1, time.Second) {
		o := &outcome{scenario: s}
		for _, side := range []side{gateway, baseline} {
			for round := range 2 {
				n := uint64(100 * (1 + round + int(side)))
				r := &load.Result{
					Tally:     load.Tally{Streaming: 10, Delivered: n, Latency: &load.Histogram{}, Back: &load.Histogram{}},
					Published: n, Time: time.Second, ServerCPU: time.Millisecond,
					Idle: load.Usage{RSS: int64(n) << 10}, End: load.Usage{Peak: 5 << 20},
				}
				r.Lost = 7 * uint64(side)
				r.Latency.Record(time.Duration(n) * time.Millisecond)
				o.results[side] = append(o.results[side], r)
			}
		}
		all = append(all, o)
	}
	return all
}

func TestPlotIsWellFormed(t *testing.T) {
	outcomes := made()
	outcomes[0].title = `<&"> streams`
	outcomes[3].results[gateway][0].Time = 0 // nothing was measured
	for name, picture := range map[string][]byte{"full": plot(outcomes), "empty": plot(nil), "without results": plot([]*outcome{{scenario: outcomes[0].scenario}})} {
		if err := wellFormed(picture); err != nil {
			t.Errorf("%s: %v\n%s", name, err, picture)
		}
		if bytes.Contains(picture, []byte("NaN")) || bytes.Contains(picture, []byte("Inf")) {
			t.Errorf("%s has numbers that are none", name)
		}
	}
	if !bytes.Contains(plot(outcomes), []byte("&lt;&amp;")) {
		t.Error("a title is not escaped")
	}
}

func wellFormed(text []byte) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestReportHasEverything(t *testing.T) {
	r := &report{machine: describe(t.Context(), time.Unix(0, 0)), outcomes: made(), hot: "pkg: x\nBenchmarkX 1\n", rounds: 2}
	text, err := r.markdown()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| server memory per stream, KiB | **15** (10–20) | **25** (20–30) | 1.67 × better |", "0 lost", "84 lost", "1970-01-01 00:00", "BenchmarkX", "results.svg"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "|") && strings.Contains(line, "×") && strings.Count(line, "|") != 5 {
			t.Errorf("a row that is none: %s", line)
		}
	}
}

func TestOnlyTheGatewayMustBeCorrect(t *testing.T) {
	r := &report{outcomes: made()}
	if err := r.correct(); err != nil {
		t.Errorf("the baseline lost some: %v", err)
	}
	for name, spoil := range map[string]func(*load.Tally){
		"lost":     func(t *load.Tally) { t.Lost++ },
		"twice":    func(t *load.Tally) { t.Repeated++ },
		"disorder": func(t *load.Tally) { t.Disordered++ },
	} {
		r := &report{outcomes: made()}
		spoil(&r.outcomes[3].results[gateway][1].Tally)
		if r.correct() == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestCompare(t *testing.T) {
	tests := []struct {
		more              bool
		gateway, baseline float64
		want              string
	}{
		{false, 2, 20, "10 × better"},
		{false, 20, 2, "10 × worse"},
		{true, 20, 2, "10 × better"},
		{true, 2, 20, "10 × worse"},
		{false, 100, 103, "about the same"},
		{false, 0, 0, "same"},
		{false, 0, 5, "better"},
		{false, 5, 0, "worse"},
		{true, 5, 0, "better"},
	}
	for _, test := range tests {
		if got := compare(figure{more: test.more}, test.gateway, test.baseline); got != test.want {
			t.Errorf("%v against %v, more is better: %v: %s, want %s", test.gateway, test.baseline, test.more, got, test.want)
		}
	}
}

func TestNumbersAreShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.126: "0.13", 5: "5", 9.87: "9.87", 12.34: "12.3", 123.4: "123", 999.6: "1,000", 1234.5: "1,230", 248_765: "249,000", 999_999: "1,000,000", 1_234_567: "1,230,000"} {
		if got := number(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

func TestSummary(t *testing.T) {
	if got := summarize([]float64{3, 1, 2}); got != (value{2, 1, 3}) {
		t.Errorf("%+v", got)
	}
	if got := summarize([]float64{4, 1}); got != (value{2.5, 1, 4}) {
		t.Errorf("%+v", got)
	}
	if got := summarize(nil); got != (value{}) {
		t.Errorf("%+v", got)
	}
}

func TestScenariosOfAnySize(t *testing.T) {
	for _, scale := range []float64{0.0001, 0.01, 0.333, 1, 1.9, 100} {
		for _, s := range scenarios(scale, time.Second) {
			if s.plan.Streams < 1 || s.plan.Streams > maxStreams || s.plan.Streams%s.plan.Channels != 0 {
				t.Errorf("scale %v: %s: %d streams on %d channels", scale, s.title, s.plan.Streams, s.plan.Channels)
			}
			for _, f := range s.figures {
				if v := f.of(&load.Result{Tally: load.Tally{Latency: &load.Histogram{}, Back: &load.Histogram{}}, Time: 1}); math.IsNaN(v) || math.IsInf(v, 0) {
					t.Errorf("%s is %v of nothing", f.name, v)
				}
			}
		}
	}
}

func TestBenchmarkLines(t *testing.T) {
	const out = "goos: linux\npkg: a\ncpu: x\nBenchmarkOne-2 \t 5 ns/op\nBenchmarkTwo-2 \t 6 ns/op\nPASS\nok a 1s\npkg: b\nPASS\npkg: c\nBenchmarkThree-2 7 ns/op\n"
	const want = "pkg: a\nBenchmarkOne-2 \t 5 ns/op\nBenchmarkTwo-2 \t 6 ns/op\npkg: c\nBenchmarkThree-2 7 ns/op\n"
	if got := benchmarkLines(out); got != want {
		t.Errorf("%q", got)
	}
	if got := benchmarkLines("PASS\nok x 1s\n"); got != "" {
		t.Errorf("%q", got)
	}
}

func TestFlags(t *testing.T) {
	if o, err := parse([]string{"-scale", "0.5"}, io.Discard); err != nil || o.scale != 0.5 || o.rounds != 3 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{{"-scale", "0"}, {"-rounds", "-1"}, {"-time", "0"}, {"x"}, {"-nothing"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
