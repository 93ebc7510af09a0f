package integration_test

import (
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// restartBehind restarts the fixture's Redis with its clock minutes behind, so
// that the position is in its future.
func restartBehind(t *testing.T, f *fixture, position string) {
	t.Helper()
	must(t, f.redis.Stop())
	must(t, f.redis.Shift(-3*time.Minute))
	must(t, f.redis.Start())
	now, err := f.db().Time(t.Context()).Result()
	must(t, err)
	if !now.Before(positionTime(t, position)) {
		t.Fatal("the clock did not go back: the test tests nothing")
	}
	ready(t, f)
}

// Redis comes back on a machine whose clock is behind. Positions go on from
// where they were, and nothing is lost or repeated.
func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	f := own(t, setup{redisArgs: harness.Durable})
	ch := channel("hist")
	streams := []*harness.Stream{open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))}
	count(t, f, ch, 1, 3)
	waitNumber(t, streams[0], ch, 3)
	middle := streams[0].Now().Cursor
	count(t, f, ch, 4, 5)
	before := fcall(t, f, ch, harness.Counted(6))
	restartBehind(t, f, before)
	for n := 7; n <= 9; n++ {
		position := fcall(t, f, ch, harness.Counted(n))
		if positionTime(t, position).Before(positionTime(t, before)) {
			t.Errorf("position %s came after %s", position, before)
		}
		before = position
	}
	for i, s := range streams {
		waitNumber(t, s, ch, 9)
		wantNumbers(t, s.Now().Of(ch), 1, 9)
		back := open(t, f.url(i), from(middle, ch))
		waitNumber(t, back, ch, 9)
		wantNumbers(t, back.Now().Of(ch), 4, 9)
	}
	stillOpen(t, streams...)
}

// The same with plain messages, of which each is still recorded once.
func TestClockGoesBackUnderPlainPublish(t *testing.T) {
	t.Parallel()
	f := own(t, setup{redisArgs: harness.Durable})
	ch := channel("hist")
	streams := []*harness.Stream{open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))}
	publish(t, f, ch, harness.Counted(1))
	waitRecorded(t, f, ch, 1)
	restartBehind(t, f, fcall(t, f, ch, harness.Counted(2)))
	for n := 3; n <= 6; n++ {
		publish(t, f, ch, harness.Counted(n))
		waitRecorded(t, f, ch, n)
	}
	for _, s := range streams {
		waitNumber(t, s, ch, 6)
		wantNumbers(t, s.Now().Of(ch), 1, 6)
	}
	stillOpen(t, streams...)
}

// Redis has lost everything and its clock is behind: positions begin again
// before those that clients know.
func TestEverythingIsLostAndTheClockGoesBack(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"flushed", "restarted empty"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{redisArgs: harness.Durable})
			ch := channel("hist")
			streams := []*harness.Stream{open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))}
			count(t, f, ch, 1, 3)
			waitNumber(t, streams[0], ch, 3)
			middle := streams[0].Now().Cursor
			count(t, f, ch, 4, 5)
			last := fcall(t, f, ch, harness.Counted(6))
			for _, s := range streams {
				waitNumber(t, s, ch, 6)
			}
			top := streams[0].Now().Cursor
			if way == "flushed" {
				restartBehind(t, f, last)
				must(t, f.redis.FlushAll(t.Context()))
			} else {
				must(t, f.redis.Kill())
				must(t, f.redis.Shift(-3*time.Minute))
				must(t, f.redis.StartEmpty())
				ready(t, f)
			}
			position := fcall(t, f, ch, harness.Counted(7))
			if !positionTime(t, position).Before(positionTime(t, last)) {
				t.Logf("positions go on after those that were lost: %s, then %s", last, position)
			}
			count(t, f, ch, 8, 8)
			for i, s := range streams {
				waitNumber(t, s, ch, 8)
				wantNumbers(t, s.Now().Published(ch), 1, 8)
				if gaps := s.Now().Gaps(ch); len(gaps) > 1 {
					t.Errorf("replica %d: %d gaps, want at most one", i, len(gaps))
				}
			}
			stillOpen(t, streams...)
			for i := range f.replicas {
				for name, cursor := range map[string]string{"older": middle, "at its end": top} {
					t.Logf("a client that was away, with a cursor that is %s, at replica %d", name, i)
					back := open(t, f.url(i), from(cursor, ch))
					waitNumber(t, back, ch, 8)
					wantOneGap(t, back, ch)
				}
			}
		})
	}
}
