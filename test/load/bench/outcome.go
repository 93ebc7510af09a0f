package main

import (
	"fmt"
	"slices"
	"strconv"

	"realtime-gateway/test/load"
)

// outcome is a scenario with the results of all rounds.
type outcome struct {
	scenario
	results [sides][]*load.Result
}

// wrong counts what no server with history may do.
func (o *outcome) wrong(s side) (lost, repeated, disordered uint64) {
	for _, r := range o.results[s] {
		lost, repeated, disordered = lost+r.Lost, repeated+r.Repeated, disordered+r.Disordered
	}
	return lost, repeated, disordered
}

// value is a figure over all rounds.
type value struct{ median, least, most float64 }

func (o *outcome) value(s side, f figure) value {
	var all []float64
	for _, r := range o.results[s] {
		all = append(all, f.of(r))
	}
	return summarize(all)
}

func summarize(all []float64) value {
	if len(all) == 0 {
		return value{}
	}
	slices.Sort(all)
	n := len(all)
	return value{(all[(n-1)/2] + all[n/2]) / 2, all[0], all[n-1]}
}

// number writes a figure with as many digits as mean something: three.
func number(v float64) string {
	switch {
	case v >= 999.5:
		unit := 1
		for v/float64(unit) >= 1000 {
			unit *= 10
		}
		return count(int(v/float64(unit)+0.5) * unit)
	case v >= 100 || v == float64(int(v)):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// String is the median, and how far the rounds were apart.
func (v value) String() string {
	if v.least == v.most {
		return number(v.median)
	}
	return fmt.Sprintf("**%s** (%s–%s)", number(v.median), number(v.least), number(v.most))
}

// noise is how much figures of two runs of the same server can differ.
const noise = 1.05

// compare says how the gateway's figure is against the baseline's.
func compare(f figure, gateway, baseline float64) string {
	word, large, small := "better", gateway, baseline
	if !f.more {
		large, small = baseline, gateway
	}
	if large < small {
		word, large, small = "worse", small, large
	}
	switch {
	case large == small:
		return "same"
	case small <= 0:
		return word
	case large/small < noise:
		return "about the same"
	}
	return fmt.Sprintf("%s × %s", number(large/small), word)
}
