package integration_test

import (
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// away lets a client hear the counted events up to seen of a channel and
// leave, and returns its cursor.
func away(t *testing.T, f *fixture, ch string, seen int) string {
	t.Helper()
	s := open(t, f.url(0), on(ch))
	count(t, f, ch, 1, seen)
	if seen > 0 {
		waitNumber(t, s, ch, seen)
	}
	s.Close()
	return s.Now().Cursor
}

func from(cursor string, channels ...string) harness.Subscribe {
	return harness.Subscribe{Channels: channels, From: cursor}
}

func TestGapWhenTrimmed(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch, whole := channel("few"), channel("hist")
	s := open(t, f.url(0), on(ch, whole))
	count(t, f, ch, 1, 3)
	count(t, f, whole, 1, 3)
	waitNumber(t, s, ch, 3)
	waitNumber(t, s, whole, 3)
	s.Close()
	count(t, f, ch, 4, 20)
	count(t, f, whole, 4, 20)
	// The replica that was there may still have what the stream has not, and
	// then nothing is missing.
	warm := open(t, f.url(0), from(s.Now().Cursor, ch))
	waitNumber(t, warm, ch, 20)
	if len(warm.Now().Gaps(ch)) > 0 {
		wantGap(t, warm.Now(), ch, 16, 20)
	} else {
		wantNumbers(t, warm.Now().Of(ch), 4, 20)
	}
	// The one that was not has the stream alone.
	told := open(t, f.url(1), from(s.Now().Cursor, ch, whole))
	waitNumber(t, told, ch, 20)
	gap := wantGap(t, told.Now(), ch, 16, 20)
	if gap.Count != nil && *gap.Count != 12 {
		t.Errorf("the gap counts %d events, want 12: %s", *gap.Count, gap.Data)
	}
	waitNumber(t, told, whole, 20)
	wantNumbers(t, told.Now().Of(whole), 4, 20)
	told.Close()
	// A client that was told is not told again.
	again := open(t, f.url(0), from(told.Now().Cursor, ch, whole))
	count(t, f, ch, 21, 22)
	waitNumber(t, again, ch, 22)
	wantNumbers(t, again.Now().Of(ch), 21, 22)
}

func TestGapWhenExpired(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, family string
		options      []any
		age          time.Duration
	}{
		{"historyTTL", "brief", nil, 2 * time.Second},
		{"messageTTL", "fresh", nil, 2 * time.Second},
		{"TTL of the event", "hist", []any{"TTL", "700"}, 700 * time.Millisecond},
	}
	for _, test := range tests {
		for _, order := range []string{"next event before the return", "next event after the return"} {
			t.Run(test.name+"/"+order, func(t *testing.T) {
				t.Parallel()
				f := shared(t)
				ch := channel(test.family)
				cursor := away(t, f, ch, 1)
				fcall(t, f, ch, harness.Counted(2), test.options...)
				missed := fcall(t, f, ch, harness.Counted(3), test.options...)
				outlive(t, f, missed, test.age)
				if order == "next event before the return" {
					fcall(t, f, ch, harness.Counted(4))
				}
				s := open(t, f.url(1), from(cursor, ch))
				if order == "next event after the return" {
					fcall(t, f, ch, harness.Counted(4))
				}
				waitNumber(t, s, ch, 4)
				fcall(t, f, ch, harness.Counted(5))
				waitNumber(t, s, ch, 5)
				wantGap(t, s.Now(), ch, 4, 5)
			})
		}
	}
}

// Within its time an event is delivered, live and replayed.
func TestTTLNotYetOver(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	live := open(t, f.url(0), on(ch))
	fcall(t, f, ch, harness.Counted(1), "TTL", "60000")
	fcall(t, f, ch, harness.Counted(2), "TTL", "60000")
	wantNumbers(t, waitCount(t, live, ch, 2), 1, 2)
	replayed := open(t, f.url(1), from(live.Now().Events[0].ID, ch))
	wantNumbers(t, waitCount(t, replayed, ch, 2), 1, 2)
	noGaps(t, replayed)
}

func TestNoGapWhenNothingIsMissing(t *testing.T) {
	t.Parallel()
	t.Run("nothing was ever published", func(t *testing.T) {
		t.Parallel()
		f := shared(t)
		ch := channel("hist")
		cursor := away(t, f, ch, 0)
		s := open(t, f.url(1), from(cursor, ch))
		count(t, f, ch, 1, 1)
		waitNumber(t, s, ch, 1)
		wantNumbers(t, s.Now().Of(ch), 1, 1)
	})
	t.Run("first events came while away", func(t *testing.T) {
		t.Parallel()
		f := shared(t)
		ch := channel("hist")
		cursor := away(t, f, ch, 0)
		count(t, f, ch, 1, 3)
		s := open(t, f.url(1), from(cursor, ch))
		waitNumber(t, s, ch, 3)
		wantNumbers(t, s.Now().Of(ch), 1, 3)
	})
	t.Run("all that was missed is still there", func(t *testing.T) {
		t.Parallel()
		f := shared(t)
		ch := channel("few")
		cursor := away(t, f, ch, 12) // what the client has seen is trimmed
		count(t, f, ch, 13, 17)
		s := open(t, f.url(1), from(cursor, ch))
		waitNumber(t, s, ch, 17)
		wantNumbers(t, s.Now().Of(ch), 13, 17)
	})
	t.Run("everything seen and then trimmed by age", func(t *testing.T) {
		t.Parallel()
		for _, family := range []string{"brief", "fresh"} {
			f := shared(t)
			ch := channel(family)
			s := open(t, f.url(0), on(ch))
			fcall(t, f, ch, harness.Counted(1))
			last := fcall(t, f, ch, harness.Counted(2))
			waitNumber(t, s, ch, 2)
			s.Close()
			outlive(t, f, last, 2*time.Second)
			again := open(t, f.url(1), from(s.Now().Cursor, ch))
			count(t, f, ch, 3, 3)
			waitNumber(t, again, ch, 3)
			wantNumbers(t, again.Now().Of(ch), 3, 3)
		}
	})
	t.Run("quiet channels after a restart of all replicas", func(t *testing.T) {
		t.Parallel()
		f := own(t, setup{flags: []string{"--drain-time", "1s"}})
		quiet, silent, expired := channel("hist"), channel("hist"), channel("brief")
		s := open(t, f.url(0), on(quiet, silent, expired))
		count(t, f, quiet, 1, 2)
		fcall(t, f, expired, harness.Counted(1))
		last := fcall(t, f, expired, harness.Counted(2))
		waitNumber(t, s, quiet, 2)
		waitNumber(t, s, expired, 2)
		s.Close()
		for _, g := range f.replicas {
			must(t, g.Kill())
		}
		outlive(t, f, last, 2*time.Second)
		for _, g := range f.replicas {
			must(t, g.Start())
		}
		for _, g := range f.replicas {
			must(t, g.WaitReady())
		}
		again := open(t, f.url(1), from(s.Now().Cursor, quiet, silent, expired))
		count(t, f, quiet, 3, 3)
		count(t, f, silent, 1, 1)
		count(t, f, expired, 3, 3)
		waitNumber(t, again, quiet, 3)
		waitNumber(t, again, silent, 1)
		waitNumber(t, again, expired, 3)
		wantNumbers(t, again.Now().Of(quiet), 3, 3)
		wantNumbers(t, again.Now().Of(silent), 1, 1)
		wantNumbers(t, again.Now().Of(expired), 3, 3)
	})
}
