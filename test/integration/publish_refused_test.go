package integration_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/test/integration/harness"
)

func TestSameEventID(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"hist", "live"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			f := shared(t)
			ch, other := channel(family), channel(family)
			s := open(t, f.url(0), on(ch, other))
			var wg sync.WaitGroup
			positions := make([]string, 16)
			errs := make([]error, len(positions))
			for i := range positions {
				wg.Go(func() { positions[i], errs[i] = tryFcall(f, ch, harness.Counted(1), "EVENTID", "order-1") })
			}
			wg.Wait()
			for i, p := range positions {
				if errs[i] != nil || p != positions[0] {
					t.Errorf("the same EVENTID returned %q (%v) and %q", p, errs[i], positions[0])
				}
			}
			// Another payload under the same id is a repetition, too.
			if p := fcall(t, f, ch, harness.Counted(9), "EVENTID", "order-1"); p != positions[0] {
				t.Errorf("a repetition returned %q, want the first position %q", p, positions[0])
			}
			// On another channel the same id is another event.
			if p := fcall(t, f, other, harness.Counted(1), "EVENTID", "order-1"); p == "" {
				t.Error("no position")
			}
			fcall(t, f, ch, harness.Counted(2), "EVENTID", "order-2")
			waitNumber(t, s, ch, 2)
			waitNumber(t, s, other, 1)
			wantNumbers(t, s.Now().Of(ch), 1, 2)
			wantNumbers(t, s.Now().Of(other), 1, 1)
			if id := s.Now().Published(ch)[0].EventID; id != "order-1" {
				t.Errorf("event_id %q, want order-1", id)
			}
		})
	}
}

// A wrong call is refused with what is wrong with it, and nothing is written.
func TestPublishRefused(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1})
	open(t, f.url(0), on("hist:ok"))
	call := func(keys []string, args ...any) error {
		return f.db().FCall(t.Context(), "gateway_publish", keys, args...).Err()
	}
	ok := []string{"gw:hist:ok"}
	before, err := f.db().DBSize(t.Context()).Result()
	must(t, err)
	keysBefore := dump(t, f)
	for _, test := range []struct {
		name string
		keys []string
		args []any
		says string
	}{
		{"no key", nil, []any{"x"}, "key"},
		{"two keys", []string{"gw:hist:ok", "gw:hist:ko"}, []any{"x"}, "key"},
		{"foreign key", []string{"hist:ok"}, []any{"x"}, "gw:"},
		{"no channel", []string{"gw:"}, []any{"x"}, "channel"},
		{"space in the channel", []string{"gw:hist:o k"}, []any{"x"}, "channel"},
		{"line break in the channel", []string{"gw:hist:ok\n"}, []any{"x"}, "channel"},
		{"umlaut in the channel", []string{"gw:hist:ö"}, []any{"x"}, "channel"},
		{"empty segment", []string{"gw:hist::ok"}, []any{"x"}, "segment"},
		{"empty first segment", []string{"gw::hist"}, []any{"x"}, "segment"},
		{"empty last segment", []string{"gw:hist:"}, []any{"x"}, "segment"},
		{"long channel", []string{"gw:hist:" + strings.Repeat("x", 251)}, []any{"x"}, "255"},
		{"no policy", []string{"gw:unknown:channel"}, []any{"x"}, "polic"},
		{"no payload", ok, nil, "payload"},
		{"payload that is not UTF-8", ok, []any{"\xff"}, "UTF-8"},
		{"payload with a surrogate", ok, []any{"\xed\xa0\x80"}, "UTF-8"},
		{"payload of an overlong form", ok, []any{"\xc0\xaf"}, "UTF-8"},
		{"payload cut within a letter", ok, []any{"x\xe2\x82"}, "UTF-8"},
		{"large payload", ok, []any{strings.Repeat("x", 9<<20)}, "bytes"},
		{"unknown option", ok, []any{"x", "EVENT", "1"}, "EVENT"},
		{"option without value", ok, []any{"x", "EVENTID"}, "EVENTID"},
		{"second option without value", ok, []any{"x", "TYPE", "t", "TTL"}, "TTL"},
		{"option twice", ok, []any{"x", "TYPE", "t", "TYPE", "u"}, "TYPE"},
		{"empty EVENTID", ok, []any{"x", "EVENTID", ""}, "EVENTID"},
		{"line break in EVENTID", ok, []any{"x", "EVENTID", "a\nb"}, "EVENTID"},
		{"long EVENTID", ok, []any{"x", "EVENTID", strings.Repeat("e", 10000)}, "EVENTID"},
		{"line break in TYPE", ok, []any{"x", "TYPE", "a\nb"}, "TYPE"},
		{"reserved TYPE", ok, []any{"x", "TYPE", "gateway.close"}, "TYPE"},
		{"empty TYPE", ok, []any{"x", "TYPE", ""}, "TYPE"},
		{"TYPE that is not UTF-8", ok, []any{"x", "TYPE", "\xff"}, "TYPE"},
		{"TTL of words", ok, []any{"x", "TTL", "soon"}, "TTL"},
		{"TTL of 0", ok, []any{"x", "TTL", "0"}, "TTL"},
		{"negative TTL", ok, []any{"x", "TTL", "-5"}, "TTL"},
		{"broken TTL", ok, []any{"x", "TTL", "1.5"}, "TTL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := call(test.keys, test.args...)
			switch {
			case err == nil:
				t.Error("accepted")
			case !strings.HasPrefix(err.Error(), "ERR"):
				t.Errorf("%q is not an ERR", err)
			case !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(test.says)):
				t.Errorf("%q does not mention %q", err, test.says)
			case strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 1000:
				t.Errorf("not one short line: %.1200q", err)
			}
		})
	}
	if now, err := f.db().DBSize(t.Context()).Result(); err != nil || now != before {
		t.Errorf("%d keys, before the refused calls %d (%v)", now, before, err)
	}
	if now := dump(t, f); now != keysBefore {
		t.Errorf("keys before the refused calls:\n%safter:\n%s", keysBefore, now)
	}
}

// dump lists all keys, streams with their length.
func dump(t *testing.T, f *fixture) string {
	t.Helper()
	keys, err := f.db().Keys(t.Context(), "gw:*").Result()
	must(t, err)
	slices.Sort(keys)
	var b strings.Builder
	for _, key := range keys {
		n, err := f.db().XLen(t.Context(), key).Result()
		if err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, key, n)
	}
	return b.String()
}
