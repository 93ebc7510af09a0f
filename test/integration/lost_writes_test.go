package integration_test

import (
	"context"
	"slices"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// A failover loses writes that were acknowledged and that clients have
// received. Everybody who cannot go on from where they were is told, whichever
// replica they come to, and nobody gets an event twice.
func TestFailoverLosesWrites(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"the master dies", "the old master lives"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{sentinel: &harness.SentinelOptions{}})
			ch, other := channel("hist"), channel("hist")
			stays := open(t, f.url(0), on(ch, other))
			count(t, f, ch, 1, 5)
			count(t, f, other, 1, 5)
			waitNumber(t, stays, other, 5)
			older := stays.Now().Cursor
			must(t, f.sentinel.Replicated())

			must(t, f.sentinel.Sever())
			count(t, f, ch, 6, 7)
			waitNumber(t, stays, ch, 7)
			among := stays.Now().Cursor
			count(t, f, ch, 8, 9)
			waitNumber(t, stays, ch, 9)
			top := stays.Now().Cursor
			if way == "the master dies" {
				old, err := f.sentinel.KillMaster()
				must(t, err)
				_, err = f.sentinel.WaitMaster(old)
				must(t, err)
			} else {
				_, err := f.sentinel.Failover()
				must(t, err)
			}
			if n, err := f.db().XLen(t.Context(), "gw:"+ch).Result(); err != nil || n != 5 {
				t.Fatalf("%d events (%v) are left, want 5: the test tests nothing", n, err)
			}
			ready(t, f)
			// This one is there before anything new is, at a replica that has
			// never seen what was lost.
			early := open(t, f.url(1), from(older, ch, other))
			wait(t, stays, "the replica finds out", func(v harness.View) bool { return len(v.Gaps(ch)) > 0 })
			must(t, harness.Persistently(context.Background(), f.db(), ch, harness.Counted(10)))
			must(t, harness.Persistently(context.Background(), f.db(), other, harness.Counted(6)))
			waitNumber(t, stays, ch, 10)
			waitNumber(t, stays, other, 6)
			count(t, f, ch, 11, 11)
			waitNumber(t, stays, ch, 11)
			heard := stays.Now().Of(ch)
			wantNumbers(t, heard[:9], 1, 9)
			lostThen(t, "the client that stayed", heard[9:], 10, 11)
			wantNumbers(t, stays.Now().Of(other), 1, 6) // nothing of it was lost
			stillOpen(t, stays, early)
			waitNumber(t, early, ch, 11)
			lostThen(t, "the client that came before the next event", early.Now().Of(ch), 10, 11)
			for i, url := range f.urls() {
				for name, cursor := range map[string]string{"with an older cursor": older, "with a cursor among what was lost": among, "with the cursor at its end": top} {
					t.Logf("a client that was away, %s, at replica %d", name, i)
					back := open(t, url, from(cursor, ch, other))
					waitNumber(t, back, ch, 11)
					waitNumber(t, back, other, 6)
					lostThen(t, name, back.Now().Of(ch), 10, 11)
					wantNumbers(t, back.Now().Of(other), 6, 6)
				}
			}
			// Who was told is not told again.
			again := open(t, f.url(1), from(stays.Now().Cursor, ch))
			count(t, f, ch, 12, 12)
			waitNumber(t, again, ch, 12)
			wantNumbers(t, again.Now().Of(ch), 12, 12)
		})
	}
}

// lostThen checks one gap for lost writes and then the counted events first to
// last.
func lostThen(t *testing.T, who string, heard []harness.Event, first, last int) {
	t.Helper()
	if len(heard) == 0 || heard[0].Name != "gateway.gap" {
		t.Errorf("%s: no gap before the next event, %v", who, told(heard))
		return
	}
	if heard[0].Reason != "lost" {
		t.Errorf("%s: the gap's reason is %q, want lost", who, heard[0].Reason)
	}
	wantNumbers(t, heard[1:], first, last)
}

func told(events []harness.Event) (out []string) {
	for _, e := range events {
		out = append(out, e.Name+" "+e.Data)
	}
	return out
}

// Redis comes back at the same address with nothing of what it had.
func TestRedisIsReplacedByAnEmptyOne(t *testing.T) {
	t.Parallel()
	f := own(t, setup{})
	ch, quiet := channel("hist"), channel("hist")
	streams := []*harness.Stream{open(t, f.url(0), on(ch, quiet)), open(t, f.url(1), on(ch, quiet))}
	count(t, f, ch, 1, 3)
	count(t, f, quiet, 1, 1)
	waitNumber(t, streams[0], ch, 3)
	waitNumber(t, streams[0], quiet, 1)
	older := streams[0].Now().Cursor
	count(t, f, ch, 4, 6)
	for _, s := range streams {
		waitNumber(t, s, ch, 6)
	}
	top := streams[0].Now().Cursor
	must(t, f.redis.Kill())
	must(t, f.redis.StartEmpty())
	ready(t, f)
	count(t, f, ch, 7, 8)
	for _, s := range streams {
		waitNumber(t, s, ch, 8)
		wantNumbers(t, s.Now().Of(ch)[:6], 1, 6)
		wantOneGap(t, s, ch)
	}
	stillOpen(t, streams...)
	for i := range f.replicas {
		for name, cursor := range map[string]string{"older": older, "at its end": top} {
			t.Logf("a client that was away, with a cursor that is %s, at replica %d", name, i)
			back := open(t, f.url(i), from(cursor, ch, quiet))
			waitNumber(t, back, ch, 8)
			// What the replica still has it may deliver.
			wantOneGap(t, back, ch)
		}
	}
}

// wantOneGap checks that the gap comes before event 7, the first that the empty
// Redis had, and after nothing but events that were really lost.
func wantOneGap(t *testing.T, l listener, ch string) {
	t.Helper()
	heard := l.Now().Of(ch)
	at := slices.IndexFunc(heard, harness.Event.Own)
	if at < 0 || len(l.Now().Gaps(ch)) != 1 {
		t.Fatalf("want one gap: %s", l.Now())
	}
	wantNumbers(t, heard[at+1:], 7, 8)
	if at > 0 {
		wantNumbers(t, heard[:at], heard[0].N, 6)
	}
}
