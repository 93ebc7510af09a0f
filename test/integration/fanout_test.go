package integration_test

import (
	"testing"

	"realtime-gateway/test/integration/harness"
)

func TestFanOutAcrossReplicas(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]harness.Send{"FCALL": harness.ByFunction, "PUBLISH": harness.ByPublish} {
		for _, family := range []string{"hist", "live"} {
			t.Run(name+"/"+family, func(t *testing.T) {
				t.Parallel()
				f := shared(t)
				ch := channel(family)
				var streams []*harness.Stream
				for i := range 6 {
					streams = append(streams, open(t, f.url(i), on(ch)))
				}
				for n := 1; n <= 20; n++ {
					must(t, send(t.Context(), f.db(), ch, harness.Counted(n)))
				}
				for _, s := range streams {
					waitCount(t, s, ch, 20)
				}
				// One more, so that a late double would show before it.
				must(t, send(t.Context(), f.db(), ch, harness.Counted(21)))
				for _, s := range streams {
					waitNumber(t, s, ch, 21)
					wantNumbers(t, s.Now().Of(ch), 1, 21)
				}
			})
		}
	}
}

// Streams hear their own channels and no others.
func TestChannelsAreApart(t *testing.T) {
	t.Parallel()
	f := shared(t)
	a, b := channel("hist"), channel("hist")
	onlyA, both := open(t, f.url(0), on(a)), open(t, f.url(1), on(a, b))
	count(t, f, b, 1, 5)
	count(t, f, a, 1, 5)
	wantNumbers(t, waitCount(t, both, a, 5), 1, 5)
	wantNumbers(t, waitCount(t, both, b, 5), 1, 5)
	waitCount(t, onlyA, a, 5)
	if got := onlyA.Now().Published(b); len(got) > 0 {
		t.Errorf("a stream on %s heard %d events of %s", a, len(got), b)
	}
}

// A channel asked for twice is heard once.
func TestChannelNamedTwice(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	s := open(t, f.url(0), on(ch, ch))
	count(t, f, ch, 1, 3)
	waitNumber(t, s, ch, 3)
	wantNumbers(t, s.Now().Of(ch), 1, 3)
}

// A position is what FCALL returns, and the default event id.
func TestPositionIsReturned(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"hist", "live"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			f := shared(t)
			ch := channel(family)
			s := open(t, f.url(0), on(ch))
			first := fcall(t, f, ch, harness.Counted(1))
			second := fcall(t, f, ch, harness.Counted(2))
			got := waitCount(t, s, ch, 2)
			if first == second || got[0].EventID != first || got[1].EventID != second {
				t.Errorf("FCALL returned %q and %q, the events' ids are %q and %q", first, second, got[0].EventID, got[1].EventID)
			}
		})
	}
}
