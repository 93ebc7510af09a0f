package integration_test

import (
	"net/url"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// What a first connection replays, by the channel's policy and by what it
// asks for. Events 1 to 4 are older than the policies' maxAge of 2 s, 5 to 7
// are not.
func TestFirstConnection(t *testing.T) {
	t.Parallel()
	f := shared(t)
	const none = 8 // event 8 is published after the connection
	tests := []struct {
		name, family string
		query        url.Values
		first        int
	}{
		{"nothing by default", "hist", nil, none},
		{"lastN not beyond the policy's none", "hist", url.Values{"lastN": {"5"}}, none},
		{"maxAge not beyond the policy's none", "hist", url.Values{"maxAge": {"1h"}}, none},
		{"lastN of the policy", "last", nil, 5},
		{"lastN narrowed", "last", url.Values{"lastN": {"1"}}, 7},
		{"lastN narrowed to nothing", "last", url.Values{"lastN": {"0"}}, none},
		{"lastN capped", "last", url.Values{"lastN": {"100"}}, 5},
		{"maxAge of the policy", "young", nil, 5},
		{"maxAge capped", "young", url.Values{"maxAge": {"1h"}}, 5},
		{"long maxAge of the policy", "aged", nil, 1},
		{"maxAge narrowed", "aged", url.Values{"maxAge": {"2s"}}, 5},
		{"lastN within maxAge", "aged", url.Values{"lastN": {"2"}}, 6},
		{"no history", "live", nil, none},
		{"no history, lastN", "live", url.Values{"lastN": {"5"}}, none},
	}
	chs := make([]string, len(tests))
	old := ""
	for i, test := range tests {
		chs[i] = channel(test.family)
		count(t, f, chs[i], 1, 3)
		old = fcall(t, f, chs[i], harness.Counted(4))
	}
	outlive(t, f, old, 2*time.Second)
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ch := chs[i]
			count(t, f, ch, 5, 7)
			s := open(t, f.url(i), harness.Subscribe{Channels: []string{ch}, Query: test.query})
			count(t, f, ch, 8, 8)
			waitNumber(t, s, ch, 8)
			wantNumbers(t, s.Now().Of(ch), test.first, 8)
		})
	}
}

// Both limits hold at once.
func TestLastNAndMaxAge(t *testing.T) {
	t.Parallel()
	f := shared(t)
	fewYoung, manyYoung := channel("both"), channel("both")
	count(t, f, fewYoung, 1, 4)
	old := fcall(t, f, fewYoung, harness.Counted(5))
	outlive(t, f, old, 2*time.Second)
	count(t, f, fewYoung, 6, 6)
	count(t, f, manyYoung, 1, 5)
	s := open(t, f.url(0), on(fewYoung, manyYoung))
	waitNumber(t, s, fewYoung, 6)
	waitNumber(t, s, manyYoung, 5)
	wantNumbers(t, s.Now().Of(fewYoung), 6, 6)
	wantNumbers(t, s.Now().Of(manyYoung), 3, 5)
}

// A cursor goes before lastN and maxAge.
func TestCursorGoesBeforeLastN(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("last")
	cursor := away(t, f, ch, 2)
	count(t, f, ch, 3, 10)
	s := open(t, f.url(1), harness.Subscribe{Channels: []string{ch}, From: cursor, Query: url.Values{"lastN": {"1"}}})
	waitNumber(t, s, ch, 10)
	wantNumbers(t, s.Now().Of(ch), 3, 10)
}

// An event that messageTTL or its own TTL has ended is not replayed on a first
// connection, and no gap speaks of what the client never asked for.
func TestExpiredIsNotReplayed(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("aged")
	count(t, f, ch, 1, 1)
	short := fcall(t, f, ch, harness.Counted(2), "TTL", "500")
	count(t, f, ch, 3, 3)
	outlive(t, f, short, 500*time.Millisecond)
	for i := range f.replicas {
		s := open(t, f.url(i), on(ch))
		waitNumber(t, s, ch, 3)
		heard := s.Now().Published(ch)
		if len(heard) != 2 || heard[0].N != 1 || heard[1].N != 3 {
			t.Errorf("replica %d: want events 1 and 3, heard %s", i, s.Now())
		}
	}
}
