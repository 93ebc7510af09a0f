package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The load is one more process on the machine that is measured; it has memory
	// to spare, and no time.
	debug.SetGCPercent(400)
	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	binaries binaries
	out      string
	scale    float64
	rounds   int
	publish  time.Duration
	only     string
	packages string
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&o.binaries[gateway], "gateway", "bin/gateway", "the built gateway")
	f.StringVar(&o.binaries[baseline], "baseline", "bin/baseline", "the built baseline")
	f.StringVar(&o.out, "out", "docs/benchmarks", "where the report goes")
	f.Float64Var(&o.scale, "scale", 1, "how many streams, as a factor")
	f.IntVar(&o.rounds, "rounds", 3, "how often everything is measured")
	f.DurationVar(&o.publish, "time", 3*time.Second, "how long each measurement publishes")
	f.StringVar(&o.only, "only", "", "only scenarios whose title contains this")
	f.StringVar(&o.packages, "packages", "", "packages whose Go benchmarks are run first, parted by commas")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.scale <= 0 || o.rounds <= 0 || o.publish <= 0 || f.NArg() > 0 {
		return o, errors.New("scale, rounds and time must be above zero, and there are no arguments but flags")
	}
	return o, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	begin := time.Now()
	r := &report{machine: describe(ctx, begin), rounds: o.rounds, publish: o.publish}
	var packages []string
	if o.packages != "" {
		packages = strings.Split(o.packages, ",")
	}
	if r.hot, err = hotPaths(ctx, packages); err != nil {
		return err
	}
	fmt.Fprint(out, r.hot)
	for _, s := range scenarios(o.scale, o.publish) {
		if strings.Contains(s.title, o.only) {
			r.outcomes = append(r.outcomes, &outcome{scenario: s})
		}
	}
	if len(r.outcomes) == 0 {
		return fmt.Errorf("no scenario has %q in its title", o.only)
	}
	for round := range o.rounds {
		for _, next := range r.outcomes {
			for turn := range sides {
				// Who comes first changes, in case it matters.
				if err := o.one(ctx, out, next, (turn+side(round))%sides); err != nil {
					return err
				}
			}
		}
	}
	r.took = time.Since(begin)
	fmt.Fprintln(out)
	for _, next := range r.outcomes {
		fmt.Fprintln(out, next.title)
		for _, f := range next.figures {
			g, b := next.value(gateway, f).median, next.value(baseline, f).median
			fmt.Fprintf(out, "  %-44s %10s  baseline %10s  %s\n", strings.TrimSuffix(f.name+", "+f.unit, ", "), number(g), number(b), compare(f, g, b))
		}
	}
	if err := r.write(o.out); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nin %v; see %s\n", r.took.Round(time.Second), filepath.Join(o.out, "README.md"))
	return r.correct()
}

// one adds one measurement to an outcome, and prints it.
func (o options) one(ctx context.Context, out io.Writer, to *outcome, s side) error {
	result, err := o.binaries.measure(ctx, s, to.plan)
	if err != nil {
		return fmt.Errorf("%s, %v: %w", to.title, s, err)
	}
	to.results[s] = append(to.results[s], result)
	fmt.Fprintf(out, "%-8v %s:", s, to.title)
	for i, f := range to.figures {
		if i > 0 {
			fmt.Fprint(out, ",")
		}
		fmt.Fprintf(out, " %s %s", f.name, strings.TrimSpace(number(f.of(result))+" "+f.unit))
	}
	if result.Closed > 0 {
		fmt.Fprintf(out, ", %d streams ended early: %v", result.Closed, result.Err)
	}
	fmt.Fprintln(out)
	return nil
}

func (r *report) write(dir string) error {
	text, err := r.markdown()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "README.md"), []byte(text), 0o644),
		os.WriteFile(filepath.Join(dir, "results.svg"), plot(r.outcomes), 0o644),
	)
}
