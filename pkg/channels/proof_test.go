package channels

import "fmt"

// prove returns what is wrong with all that a client was given of a channel.
//
// Every event comes once and in order, or is missing under one gap that stands
// where it is missing and whose positions hold it. An event that Redis lost
// before any client was given it may be missing silently: nobody knows of it.
// One that was given may have its gap late, behind events that were published
// before any replica could tell of the loss; its positions say where.
func prove(tt *truth, tr *trace) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	last := tr.start
	var gaps []given // since the last event
	lostGaps := 0    // of this connection
	for i, g := range tr.steps {
		if i > 0 && tr.steps[i-1].conn != g.conn {
			lostGaps = 0
		}
		if g.gap == nil {
			f := tt.facts[g.n]
			switch {
			case g.n <= last:
				bad("event %d comes after %d", g.n, last)
				continue
			case g.at != f.Position:
				bad("event %d is given at %v, published was it at %v", g.n, g.at, f.Position)
			case g.gone:
				bad("event %d is given to who came back after it was known to be lost", g.n)
			case !g.from.Less(g.at):
				bad("event %d goes from %v to %v", g.n, g.from, g.at)
			}
			problems = append(problems, between(tt, tr.steps[i:], last, g.n, gaps)...)
			last, gaps = g.n, nil
			continue
		}
		// What was lost, or became known to be, after the first gap had been given
		// makes another.
		n := len(gaps)
		again := n > 0 && (g.gap.Reason == GapLost || gaps[n-1].gap.Reason == GapLost) && lostGaps < 2*tt.losses
		if n > 0 && gaps[n-1].conn == g.conn && !again {
			bad("two gaps after event %d without an event between", last)
		}
		gaps = append(gaps, g)
		switch g.gap.Reason {
		case GapLost:
			// Of one loss two replicas may know differently much.
			if lostGaps++; lostGaps > 2*tt.losses {
				bad("gap %d of reason lost on one connection, but Redis lost %d times", lostGaps, tt.losses)
			}
		case GapTrimmed:
			// A stream that has lost its end looks like one that was trimmed, until
			// a replica has found out.
			if tt.trims == 0 && tt.losses == 0 {
				bad("a gap of reason trimmed, but nothing was trimmed")
			}
		default:
			bad("a gap of reason %s", g.gap.Reason)
		}
		if g.gap.To.Less(g.gap.From) {
			bad("a gap from %v back to %v", g.gap.From, g.gap.To)
		}
		if g.at.Less(g.from) && !tt.forgotten(g) {
			bad("a gap takes the client from %v back to %v", g.from, g.at)
		}
	}
	return append(problems, between(tt, nil, last, len(tt.facts), gaps)...)
}

// forgotten tells whether the client resumed at a position that Redis has lost
// and of which no replica knows: then it goes on from what Redis has.
func (tt *truth) forgotten(g given) bool {
	return tt.losses > 0 && g.gap.Reason == GapLost && g.gap.From == g.from && g.gap.To == g.from
}

// between proves what is missing between two events that a client was given
// one after the other, and the gaps that it was given there; later is what it
// was given from then on.
func between(tt *truth, later []given, from, to int, gaps []given) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	needed := make([]bool, len(gaps))
	for n := from + 1; n < to; n++ {
		f, covered := tt.facts[n], false
		for i, g := range gaps {
			if tt.covers(g, f) {
				covered, needed[i] = true, true
			}
		}
		for _, g := range later {
			if g.gap != nil && (f.lost || f.behind) && tt.ofLoss(g) && tt.covers(g, f) {
				covered = true
			}
		}
		switch {
		case f.lost && !f.given && len(gaps) == 0:
		case !covered && !(f.lost && !f.given):
			bad("event %d at %v is missing after %d without a gap that holds it", n, f.Position, from)
		case !f.lost && !f.trimmed && !f.behind:
			bad("event %d is missing under a gap, but Redis has it", n)
		}
	}
	for i, g := range gaps {
		if !needed[i] && !(tt.ofLoss(g) && tt.knownLoss()) && tt.flushes == 0 {
			bad("a gap (%v,%v] of reason %s after event %d, but nothing is missing", g.gap.From, g.gap.To, g.gap.Reason, from)
		}
	}
	return problems
}

// ofLoss tells whether a gap may stand for a loss. A record that is lost itself
// was a part of the stream, and looks as if it were trimmed.
func (tt *truth) ofLoss(g given) bool {
	return g.gap.Reason == GapLost || g.gap.Reason == GapTrimmed && tt.records > 0
}

// covers tells whether an event is one that the gap stands for. One at a
// position before others that had been given out earlier can only be placed by
// the loss, and who stands at a position that was given twice may have had
// either event.
func (tt *truth) covers(g given, f *fact) bool {
	if f.twin && tt.ofLoss(g) && g.gap.From == f.Position {
		return true
	}
	return g.gap.From.Less(f.Position) && !g.gap.To.Less(f.Position) || f.behind && g.gap.Reason == GapLost
}

// knownLoss tells whether Redis lost an event that a replica had, or a record
// of such a loss.
func (tt *truth) knownLoss() bool {
	for _, f := range tt.facts[1:] {
		if f.lost && f.known {
			return true
		}
	}
	return tt.flushes > 0
}
