package redisbus

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/channels"
)

func TestParseAnnouncement(t *testing.T) {
	for _, tt := range []struct {
		text string
		want channels.Event
	}{
		{"1 5-1 4-0 0 0 0\nx", channels.Event{Position: pos(5, 1), Prev: pos(4, 0), Payload: "x"}},
		{"1 5-1 0-0 0 0 0\n", channels.Event{Position: pos(5, 1)}},
		{"1 5-1 - 0 0 0\nx\ny", channels.Event{Position: pos(5, 1), Payload: "x\ny"}},
		{"1 5-1 4-0 1500 2 3\nidtypepay", channels.Event{Position: pos(5, 1), Prev: pos(4, 0), TTL: 1500 * time.Millisecond, EventID: "id", Type: "typ", Payload: "epay"}},
		{"1 5-1 4-0 999999999999999 0 0\nx", channels.Event{Position: pos(5, 1), Prev: pos(4, 0), TTL: channels.MaxDuration, Payload: "x"}},
		{"1 18446744073709551615-18446744073709551615 4-0 0 0 0\n", channels.Event{Position: pos(1<<64-1, 1<<64-1), Prev: pos(4, 0)}},
	} {
		if got, err := parseAnnouncement(tt.text); err != nil || got != tt.want {
			t.Errorf("%q is %+v, %v", tt.text, got, err)
		}
	}
	for _, text := range []string{
		"", "\n", "x", "1 5-1 4-0 0 0 0", "2 5-1 4-0 0 0 0\nx", " 1 5-1 4-0 0 0 0\nx", "1 5-1 4-0 0 0 0 \nx", "1 5-1 4-0 0 0 0 7\nx",
		"1 5-1 4-0 0 0\nx", "1  5-1 4-0 0 0\nx", "1 5 4-0 0 0 0\nx", "1 - 4-0 0 0 0\nx", "1 5-1 4 0 0 0\nx", "1 5-1 4-0 -1 0 0\nx",
		"1 5-1 4-0 x 0 0\nx", "1 5-1 4-0 0 2 0\nx", "1 5-1 4-0 0 1 1\nx", "1 5-1 4-0 0 -1 0\nx", "1 5-1 4-0 0 0 99999999999999999999\nx",
		"1 5-1 4-0 0 +1 0\nx", "1 5-1 4-0 0 65535 65535\nx", "1 5-1 4-0 0 0 0\r\nx"[:15],
	} {
		if got, err := parseAnnouncement(text); err == nil {
			t.Errorf("%q is read as %+v, want an error", text, got)
		}
	}
}

func pos(ms, seq uint64) channels.Position { return channels.Position{Millis: ms, Seq: seq} }

// announce writes an announcement as gateway.lua does.
func announce(e channels.Event) string {
	return fmt.Sprintf("1 %v %v %d %d %d\n%s%s%s", e.Position, e.Prev, e.TTL.Milliseconds(), len(e.EventID), len(e.Type), e.EventID, e.Type, e.Payload)
}

func FuzzParseAnnouncement(f *testing.F) {
	f.Add("1 5-1 4-0 1500 2 3\nidtypepay")
	f.Add("1 5-1 - 0 0 0\n")
	f.Add("1 5-1 4-0 0 65535 65535\nx")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseAnnouncement(text)
		if err != nil {
			if e != (channels.Event{}) {
				t.Errorf("%q gives %+v beside an error", text, e)
			}
			return
		}
		if e.TTL < 0 || e.TTL > channels.MaxDuration {
			t.Errorf("TTL is %v", e.TTL)
		}
		if again, err := parseAnnouncement(announce(e)); err != nil || again != e {
			t.Errorf("%q is %+v, and written anew %+v, %v", text, e, again, err)
		}
	})
}

func TestParseEntry(t *testing.T) {
	for _, tt := range []struct {
		name     string
		id       string
		values   map[string]any
		want     channels.Event
		recorder string
		ok       bool
	}{
		{"all fields", "5-1", map[string]any{"p": "4-0", "d": "x", "e": "id", "t": "typ", "x": "1500", "r": "me"},
			channels.Event{Position: pos(5, 1), Prev: pos(4, 0), Payload: "x", EventID: "id", Type: "typ", TTL: 1500 * time.Millisecond}, "me", true},
		{"least", "5-1", map[string]any{"p": "0-0", "d": ""}, channels.Event{Position: pos(5, 1)}, "", true},
		{"more than we know", "5-1", map[string]any{"p": "0-0", "d": "x", "z": "1"}, channels.Event{Position: pos(5, 1), Payload: "x"}, "", true},
		{"no predecessor", "5-1", map[string]any{"d": "x"}, channels.Event{Position: pos(5, 1)}, "", false},
		{"no payload", "5-1", map[string]any{"p": "4-0"}, channels.Event{Position: pos(5, 1)}, "", false},
		{"wrong predecessor", "5-1", map[string]any{"p": "x", "d": "x"}, channels.Event{Position: pos(5, 1)}, "", false},
		{"wrong TTL", "5-1", map[string]any{"p": "4-0", "d": "x", "x": "soon"}, channels.Event{Position: pos(5, 1)}, "", false},
		{"nobody's", "5-1", map[string]any{"field": "value"}, channels.Event{Position: pos(5, 1)}, "", false},
		{"no fields", "5-1", nil, channels.Event{Position: pos(5, 1)}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, recorder, ok := parseEntry(redis.XMessage{ID: tt.id, Values: tt.values})
			if ok != tt.ok || got.Position != tt.want.Position || recorder != tt.recorder || ok && got != tt.want {
				t.Errorf("got %+v by %q, %v", got, recorder, ok)
			}
		})
	}
}

// An entry that is none of ours is a hole of one position, never an event.
func TestForeignEntriesKeepTheirPlace(t *testing.T) {
	got := events([]redis.XMessage{{ID: "5-1", Values: map[string]any{"p": "0-0", "d": "x"}}, {ID: "6-0", Values: map[string]any{"p": "5-1", "x": "1"}}})
	want := []channels.Event{{Position: pos(5, 1), Payload: "x"}, {Position: pos(6, 0), Foreign: true}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add("5-1", "4-0", "x", "id", "typ", "1500", "me", uint8(63))
	f.Add("5", "", "", "", "", "-", "", uint8(3))
	f.Fuzz(func(t *testing.T, id, p, d, e, typ, x, r string, has uint8) {
		values := make(map[string]any)
		for i, field := range []struct{ name, value string }{{"p", p}, {"d", d}, {"e", e}, {"t", typ}, {"x", x}, {"r", r}} {
			if has&(1<<i) != 0 {
				values[field.name] = field.value
			}
		}
		event, _, ok := parseEntry(redis.XMessage{ID: id, Values: values})
		if !ok {
			return
		}
		if has&3 != 3 || event.Payload != d || event.TTL < 0 || event.TTL > channels.MaxDuration {
			t.Errorf("%q %v is read as %+v", id, values, event)
		}
	})
}

func TestParseRecorded(t *testing.T) {
	position, c, ok := parseRecorded("5-1 me digest project:42:tasks")
	if !ok || position != pos(5, 1) || c != (content{"project:42:tasks", "digest"}) {
		t.Errorf("got %v %+v %v", position, c, ok)
	}
	for _, text := range []string{"", "5-1", "5-1 me", "5-1 me digest", "5 me digest channel"} {
		if _, _, ok := parseRecorded(text); ok {
			t.Errorf("%q is read", text)
		}
	}
}
