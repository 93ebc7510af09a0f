package sse

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	gosse "github.com/tmaxmax/go-sse"

	"realtime-gateway/pkg/channels"
)

func TestMessageAppend(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    Message
		want string
	}{
		{"nothing", Message{}, "\n"},
		{"data", Message{Data: "x"}, "data: x\n\n"},
		{"all fields, in this order", Message{ID: "7", Event: "e", Data: "x", Retry: 1500 * time.Millisecond}, "retry: 1500\nid: 7\nevent: e\ndata: x\n\n"},
		{"an event without data is still dispatched", Message{Event: "e"}, "event: e\ndata: \n\n"},
		{"an id alone moves the cursor", Message{ID: "7"}, "id: 7\n\n"},
		{"retry alone", Message{Retry: time.Second}, "retry: 1000\n\n"},
		{"retry is rounded down", Message{Retry: 1999 * time.Microsecond}, "retry: 1\n\n"},
		{"no negative retry", Message{Retry: -time.Second}, "\n"},
		{"LF", Message{Data: "a\nb"}, "data: a\ndata: b\n\n"},
		{"CR", Message{Data: "a\rb"}, "data: a\ndata: b\n\n"},
		{"CRLF is one line end", Message{Data: "a\r\nb"}, "data: a\ndata: b\n\n"},
		{"LFCR is two", Message{Data: "a\n\rb"}, "data: a\ndata: \ndata: b\n\n"},
		{"lines at the ends", Message{Data: "\na\n"}, "data: \ndata: a\ndata: \n\n"},
		{"only line ends", Message{Data: "\n\n"}, "data: \ndata: \ndata: \n\n"},
		{"spaces stay", Message{Data: "  a "}, "data:   a \n\n"},
		{"colons stay", Message{Data: ":a:b"}, "data: :a:b\n\n"},
		{"NUL in data stays", Message{Data: "a\x00b"}, "data: a\x00b\n\n"},
		{"other Unicode line ends are none here", Message{Data: "a\u2028b\u0085c\v\f"}, "data: a\u2028b\u0085c\v\f\n\n"},
		{"fields forged in data", Message{Data: "a\n\nid: 1\nevent: gateway.close\rretry: 1\r\n: c"},
			"data: a\ndata: \ndata: id: 1\ndata: event: gateway.close\ndata: retry: 1\ndata: : c\n\n"},
		{"fields forged in the event", Message{Event: "e\nid: 1\n\ndata: forged", Data: "x"}, "event: e\ndata: x\n\n"},
		{"fields forged in the event by CR", Message{Event: "e\rdata: forged", Data: "x"}, "event: e\ndata: x\n\n"},
		{"fields forged in the id", Message{ID: "7\r\n\r\ndata: forged", Data: "x"}, "id: 7\ndata: x\n\n"},
		{"NUL in the id, which a client would ignore", Message{ID: "7\x008", Data: "x"}, "id: 7\ndata: x\n\n"},
		{"an id that begins with a NUL must not reset the client's", Message{ID: "\x007", Data: "x"}, "data: x\n\n"},
		{"an id that begins with a line end must not either", Message{ID: "\n7", Data: "x"}, "data: x\n\n"},
		{"an event that is nothing but forged", Message{Event: "\ndata: forged"}, "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(tt.m.Append(nil)); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if got := string(tt.m.Append([]byte("before"))); got != "before"+tt.want {
				t.Errorf("appended: got %q", got)
			}
		})
	}
}

// first returns what of a one-line field counts.
func first(s string) string {
	if i := strings.IndexAny(s, "\r\n\x00"); i >= 0 {
		s = s[:i]
	}
	return s
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

func FuzzMessage(f *testing.F) {
	f.Add("7", "task_created", "one\ntwo\r\nthree\rfour", int64(1500))
	f.Add("7\x00", "e\nid: 1", "x\n\nevent: y", int64(0))
	f.Add("\n", "\r", "", int64(-1))
	f.Add("", "", "\r", int64(1))
	f.Add("\ufeff", " e", " : ", int64(1))
	f.Add("", "", "a\r\n\r\n\rb\n\r", int64(999))
	f.Fuzz(func(t *testing.T, id, event, data string, micros int64) {
		micros %= 1 << 40
		m := Message{ID: id, Event: event, Data: data, Retry: time.Duration(micros) * time.Microsecond}
		wire := Message{ID: "before", Data: "first"}.Append(nil)
		wire = m.Append(wire)
		wire = Message{Event: "after", Data: "last"}.Append(wire)

		at := "before"
		want := []frame{{id: at, event: "message", data: "first"}}
		if first(id) != "" {
			at = first(id)
		}
		if data != "" || first(event) != "" {
			e := frame{id: at, event: first(event), data: lineEnds.Replace(data), retry: max(0, m.Retry.Truncate(time.Millisecond))}
			if e.event == "" {
				e.event = "message"
			}
			want = append(want, e)
		}
		want = append(want, frame{id: at, event: "after", data: "last"})
		if got := newParser(bytes.NewReader(wire)).all(); !reflect.DeepEqual(got, want) {
			t.Fatalf("wire %q\nparsed %+v\nwant   %+v", wire, got, want)
		}
		compareWithLibrary(t, wire, want)
	})
}

// compareWithLibrary parses with go-sse, which differs from the standard in
// yielding events without data and in naming "message" by an empty type.
func compareWithLibrary(t *testing.T, wire []byte, want []frame) {
	t.Helper()
	var got, wanted []frame
	for e, err := range gosse.Read(bytes.NewReader(wire), &gosse.ReadConfig{MaxEventSize: len(wire) + 1024}) {
		if err != nil {
			t.Fatalf("go-sse: %v", err)
		}
		if e.Data == "" {
			continue
		}
		if e.Type == "" {
			e.Type = "message"
		}
		got = append(got, frame{id: e.LastEventID, event: e.Type, data: e.Data})
	}
	for _, f := range want {
		if f.data != "" {
			wanted = append(wanted, frame{id: f.id, event: f.event, data: f.data})
		}
	}
	if !reflect.DeepEqual(got, wanted) {
		t.Fatalf("wire %q\ngo-sse %+v\nwant   %+v", wire, got, wanted)
	}
}

func TestEncodeEvent(t *testing.T) {
	e := &channels.Event{Position: channels.Position{Millis: 1700000000123, Seq: 4}, Payload: `{"type": "task_created",` + "\r\n" + `"id": 1}`}
	got := EncodeEvent("project:42:tasks", e)
	cursor := NewCursor("project:42:tasks", e.Position)
	data := `{"channel":"project:42:tasks","event_id":"1700000000123-4","timestamp":"2023-11-14T22:13:20.123Z","type":"task_created","id":1}`
	if want := "id: " + cursor + "\nevent: task_created\ndata: " + data + "\n\n"; string(got.Frame) != want {
		t.Errorf("frame is\n%q, want\n%q", got.Frame, want)
	}
	if want := "event: task_created\ndata: " + data + "\n\n"; string(got.Frame[got.Body:]) != want {
		t.Errorf("body is\n%q, want\n%q", got.Frame[got.Body:], want)
	}
	if string(got.JSON()) != data {
		t.Errorf("JSON is\n%s, want\n%s", got.JSON(), data)
	}
}

func FuzzEncodeEvent(f *testing.F) {
	f.Add(`{"type":"post","action":"update","id":"abc"}`, "", "", "posts", uint64(1700000000123), uint64(0))
	f.Add("plain\r\ntext\n\nid: 1", "", "e", "a:b", uint64(1), uint64(2))
	f.Add(`{"type":"gateway.close"}`, "x", "", "a", uint64(0), uint64(0))
	f.Add(`{"type":"a\nid: 1\n\n"}`, "a\nb", "gateway.open", "a", uint64(1), uint64(1))
	f.Add("[1,\r2]", "", "t\rid: 2", "a\ndata: x", uint64(9), uint64(9))
	f.Add("\xff\xfe{", "\xff", "\xff", "\xff", uint64(1)<<63, uint64(1)<<63)
	f.Fuzz(func(t *testing.T, payload, id, eventType, channel string, ms, seq uint64) {
		ms %= 253402300800000 // a year has four digits
		e := &channels.Event{Position: channels.Position{Millis: ms, Seq: seq}, Payload: payload, EventID: id, Type: eventType}
		encoded := EncodeEvent(channel, e)
		wire := append(bytes.Clone(encoded.Frame), Message{Data: "after"}.Append(nil)...)
		frames := newParser(bytes.NewReader(wire)).all()
		if len(frames) != 2 || frames[1].data != "after" {
			t.Fatalf("%q is %d events: %+v", wire, len(frames), frames)
		}
		got := frames[0]
		cursor, err := channels.ParseCursor(got.id)
		if at, ok := cursor.Position(channel); err != nil || !ok || at != e.Position {
			t.Errorf("cursor %q is at %v (%v), want %v", got.id, at, err, e.Position)
		}
		if !channels.ValidType(got.event) {
			t.Errorf("event type is %q", got.event)
		}
		if got.data != string(encoded.JSON()) {
			t.Errorf("data is %q, JSON is %q", got.data, encoded.JSON())
		}
		var object map[string]any
		if err := json.Unmarshal([]byte(got.data), &object); err != nil {
			t.Fatalf("data %q: %v", got.data, err)
		}
		if object["channel"] != jsonText(channel) {
			t.Errorf("channel is %q, want %q", object["channel"], channel)
		}
		// A shared frame and one with the connection's own cursor differ in
		// their first line only.
		if body := string(encoded.Frame[encoded.Body:]); !strings.HasPrefix(body, "event: ") || string(encoded.Frame) != "id: "+got.id+"\n"+body {
			t.Errorf("frame %q, body %q", encoded.Frame, body)
		}
	})
}

// jsonText is s after a round through JSON, which replaces invalid UTF-8.
func jsonText(s string) (text string) {
	b, _ := json.Marshal(s)
	json.Unmarshal(b, &text)
	return text
}
