package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

const (
	lagEvents  = 600 // of lagPayload bytes: more than all sockets on the way hold
	lagPayload = 16 << 10
	lagBuffer  = 16 // bufferSize of the slow: policies
)

func bulky(n int) string {
	return fmt.Sprintf(`{"type":"count","n":%d,"data":"%s"}`, n, strings.Repeat("x", lagPayload))
}

// stall opens a stream that stops reading after gateway.open, publishes
// lagEvents past it, and returns it still stopped. Another client on the same
// replica, which keeps up, hears every event meanwhile.
func stall(t *testing.T, f *fixture, ch string) *harness.Stream {
	t.Helper()
	slow := open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, ReceiveBuffer: 8 << 10})
	slow.Pause()
	quick := open(t, f.url(0), on(ch))
	defer quick.Close()
	for n := 1; n <= lagEvents; n++ {
		fcall(t, f, ch, bulky(n))
		if n%(lagBuffer/2) == 0 {
			// In step, so that only the slow one lags.
			waitNumber(t, quick, ch, n)
		}
	}
	waitNumber(t, quick, ch, lagEvents)
	wantNumbers(t, quick.Now().Of(ch), 1, lagEvents)
	return slow
}

// accounted checks that what was heard is in order, each event once, and that
// every hole is announced by one gap in its place, with its size.
func accounted(t *testing.T, v harness.View, ch string) (gaps int) {
	t.Helper()
	next := 1
	var gap *harness.Event
	for _, e := range v.Of(ch) {
		if e.Name == "gateway.gap" {
			if gap != nil {
				t.Errorf("two gaps in a row: %s and %s", gap.Data, e.Data)
			}
			if e.Reason == "" || e.From == nil || e.To == nil || e.Count == nil {
				t.Errorf("the gap lacks reason, from, to or count: %s", e.Data)
			}
			gap = &e
			gaps++
			continue
		}
		if e.Name != "count" {
			continue
		}
		missing := e.N - next
		switch {
		case missing < 0:
			t.Fatalf("event %d after event %d", e.N, next-1)
		case missing > 0 && gap == nil:
			t.Fatalf("events %d to %d are missing without a gap", next, e.N-1)
		case missing == 0 && gap != nil:
			t.Errorf("a gap where nothing is missing, before event %d: %s", e.N, gap.Data)
		case gap != nil && gap.Count != nil && *gap.Count != missing:
			t.Errorf("%d events are missing before event %d, the gap counts %d: %s", missing, e.N, *gap.Count, gap.Data)
		}
		next, gap = e.N+1, nil
	}
	return gaps
}

func TestSlowClientDropOldest(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"slow:oldest", "slow:oldest-kept"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			f := shared(t)
			ch := channel(family)
			s := stall(t, f, ch)
			s.Resume()
			v := waitNumber(t, s, ch, lagEvents)
			if gaps := accounted(t, v, ch); gaps == 0 {
				t.Error("nothing was dropped: the test tested nothing")
			}
			// The newest bufferSize events are those that are kept.
			heard := v.Published(ch)
			wantNumbers(t, heard[len(heard)-lagBuffer:], lagEvents-lagBuffer+1, lagEvents)
			afterwards(t, f, s, ch)
		})
	}
}

// afterwards checks that a client that reads again is an ordinary one.
func afterwards(t *testing.T, f *fixture, s *harness.Stream, ch string) {
	t.Helper()
	last := 0
	for _, e := range s.Now().Published(ch) {
		last = max(last, e.N)
	}
	before := len(s.Now().Of(ch))
	for n := last + 1; n <= last+3; n++ {
		fcall(t, f, ch, bulky(n))
		waitNumber(t, s, ch, n)
	}
	wantNumbers(t, s.Now().Of(ch)[before:], last+1, last+3)
}

func TestSlowClientDropNewest(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("slow:newest")
	s := stall(t, f, ch)
	s.Resume()
	// When the buffer has room again is not announced: the next event that is
	// not dropped tells.
	n := lagEvents
	must(t, harness.Until("an event is delivered again", harness.Deadline, func() error {
		n++
		fcall(t, f, ch, bulky(n))
		_, err := s.Wait("it", 200*time.Millisecond, func(v harness.View) bool {
			all := v.Published(ch)
			return len(all) > 0 && all[len(all)-1].N > lagEvents
		})
		return err
	}))
	v := s.Now()
	if gaps := accounted(t, v, ch); gaps == 0 {
		t.Error("nothing was dropped: the test tested nothing")
	}
	// The oldest are kept: the first hole begins after what the sockets held
	// and bufferSize more, and the newest of the flood are in it.
	heard := v.Published(ch)
	for _, e := range heard {
		if e.N > lagEvents-lagBuffer && e.N <= lagEvents {
			t.Errorf("event %d was delivered, though the buffer was full of older ones", e.N)
		}
	}
	afterwards(t, f, s, ch)
}

func TestSlowClientDisconnect(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("slow:disconnect")
	s := stall(t, f, ch)
	s.Resume()
	v := waitEnd(t, s, harness.Deadline)
	heard := v.Published(ch)
	if len(heard) >= lagEvents {
		t.Fatal("nothing was lost: the test tested nothing")
	}
	wantNumbers(t, v.Of(ch), 1, len(heard))
	// What did not fit into the sockets cannot be told; if it could, it is
	// the last word.
	if closes := v.Named("gateway.close"); len(closes) > 0 {
		wantClose(t, v, true)
	}
	// The client comes back and has lost nothing.
	again := open(t, f.url(1), from(v.Cursor, ch))
	waitNumber(t, again, ch, lagEvents)
	wantNumbers(t, again.Now().Of(ch), len(heard)+1, lagEvents)
}

func TestSlowClientCatchUp(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"slow:catch-up", "slow:default"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			f := shared(t)
			ch := channel(family)
			s := stall(t, f, ch)
			s.Resume()
			waitNumber(t, s, ch, lagEvents)
			wantNumbers(t, s.Now().Of(ch), 1, lagEvents)
			afterwards(t, f, s, ch)
			stillOpen(t, s)
		})
	}
}

// A stopped reader delays nobody on other channels of its replica, either.
func TestSlowClientDelaysNobody(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch, other := channel("slow:catch-up"), channel("hist")
	var slow []*harness.Stream
	for range 10 {
		s := open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, ReceiveBuffer: 8 << 10})
		s.Pause()
		slow = append(slow, s)
	}
	quick := open(t, f.url(0), on(other, ch))
	for n := 1; n <= lagEvents/2; n++ {
		fcall(t, f, ch, bulky(n))
	}
	start := time.Now()
	for n := 1; n <= 20; n++ {
		fcall(t, f, other, harness.Counted(n))
		waitNumber(t, quick, other, n)
	}
	if each := time.Since(start) / 20; each > time.Second {
		t.Errorf("an event took %v beside slow clients", each)
	}
	waitNumber(t, quick, ch, lagEvents/2)
	for _, s := range slow {
		s.Resume()
	}
	for _, s := range slow {
		waitNumber(t, s, ch, lagEvents/2)
		wantNumbers(t, s.Now().Of(ch), 1, lagEvents/2)
	}
}
