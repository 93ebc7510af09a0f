package channels

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestRender(t *testing.T) {
	const at = `"timestamp":"2023-11-14T22:13:20.005Z"`
	position := Position{1_700_000_000_005, 7}
	const id = `"event_id":"1700000000005-7"`
	for _, tt := range []struct {
		name           string
		event          Event
		wantType, want string
	}{
		{"typed object", Event{Payload: `{"type":"post","action":"update","id":"abc"}`},
			"post", `{"channel":"a:b",` + id + `,` + at + `,"type":"post","action":"update","id":"abc"}`},
		{"own id and time are kept", Event{Payload: `{"event_id":"e","timestamp":"t","type":"x"}`, EventID: "ignored"},
			"x", `{"channel":"a:b","event_id":"e","timestamp":"t","type":"x"}`},
		{"EVENTID where absent", Event{Payload: `{"type":"x"}`, EventID: "e1"},
			"x", `{"channel":"a:b","event_id":"e1",` + at + `,"type":"x"}`},
		{"channel is the gateway's", Event{Payload: `{"channel":"forged","type":"x","chan\u006eel":"too"}`},
			"x", `{"channel":"a:b",` + id + `,` + at + `,"type":"x"}`},
		{"only a channel beside", Event{Payload: `{"type":"x","channel":"forged"}`},
			"x", `{"channel":"a:b",` + id + `,` + at + `,"type":"x"}`},
		{"type wins over TYPE", Event{Payload: `{"type":"x"}`, Type: "y"},
			"x", `{"channel":"a:b",` + id + `,` + at + `,"type":"x"}`},
		{"spaces and nesting", Event{Payload: " {\n \"type\" : \"x\",\r\n\t\"data\": { \"a\" : [ 1 , \"}\\\"]\" , {} ] } } "},
			"x", `{"channel":"a:b",` + id + `,` + at + `,"type":"x","data":{"a":[1,"}\"]",{}]}}`},
		{"text", Event{Payload: "hello <b> \"you\"\n\u2028\x00"},
			"message", `{"channel":"a:b",` + id + `,"type":"message",` + at + `,"data":"hello <b> \"you\"\n\u2028\u0000"}`},
		{"empty", Event{Payload: ""},
			"message", `{"channel":"a:b",` + id + `,"type":"message",` + at + `,"data":""}`},
		{"number stays text", Event{Payload: "42", Type: "n"},
			"n", `{"channel":"a:b",` + id + `,"type":"n",` + at + `,"data":"42"}`},
		{"object without type", Event{Payload: `{"n": 1}`},
			"message", `{"channel":"a:b",` + id + `,"type":"message",` + at + `,"data":{"n":1}}`},
		{"type is no string", Event{Payload: `{"type":7}`},
			"message", `{"channel":"a:b",` + id + `,"type":"message",` + at + `,"data":{"type":7}}`},
		{"array", Event{Payload: `[1, 2]`, EventID: "e"},
			"message", `{"channel":"a:b","event_id":"e","type":"message",` + at + `,"data":[1,2]}`},
		{"broken JSON is text", Event{Payload: `{"type":"x"`},
			"message", `{"channel":"a:b",` + id + `,"type":"message",` + at + `,"data":"{\"type\":\"x\""}`},
		{"reserved type", Event{Payload: `{"type":"gateway.close"}`},
			"message", `{"channel":"a:b",` + id + `,"type":"message",` + at + `,"data":{"type":"gateway.close"}}`},
		{"forged field", Event{Payload: `{"type":"x\nid: 9"}`},
			"message", `{"channel":"a:b",` + id + `,"type":"message",` + at + `,"data":{"type":"x\nid: 9"}}`},
		{"the last type counts", Event{Payload: `{"type":"x","type":"gateway.gap"}`},
			"message", `{"channel":"a:b",` + id + `,"type":"message",` + at + `,"data":{"type":"x","type":"gateway.gap"}}`},
		{"empty object", Event{Payload: `{}`},
			"message", `{"channel":"a:b",` + id + `,"type":"message",` + at + `,"data":{}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.event.Position = position
			gotType, got := Render("a:b", &tt.event)
			if gotType != tt.wantType || string(got) != tt.want {
				t.Errorf("got  %s %s\nwant %s %s", gotType, got, tt.wantType, tt.want)
			}
		})
	}
}

// FuzzRender compares with what encoding/json makes of the payload.
func FuzzRender(f *testing.F) {
	for _, s := range []string{"", "x", "{}", `{"type":"x","a":[{"b":"}"}],"event_id":null}`, `{"type":"a","type":"b"}`, `[1,{"a":"\""}]`, `{"\u0074ype":"x"}`, "\xff", `{"type":"x\n"}`, `{"type":"é\ud800"}`} {
		f.Add(s, "e", "t")
	}
	f.Fuzz(func(t *testing.T, payload, eventID, eventType string) {
		e := &Event{Position: Position{1_700_000_000_000, 1}, Payload: payload, EventID: eventID, Type: eventType}
		gotType, object := Render("a:b", e)
		if !ValidType(gotType) || strings.ContainsAny(string(object), "\r\n\x00") || !json.Valid(object) {
			t.Fatalf("type %q, object %q", gotType, object)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(object, &got); err != nil {
			t.Fatal(err)
		}
		if string(got["channel"]) != `"a:b"` || got["event_id"] == nil || got["timestamp"] == nil || got["type"] == nil {
			t.Errorf("incomplete: %s", object)
		}
		var want map[string]json.RawMessage
		var wantType string
		if json.Unmarshal([]byte(payload), &want) == nil && json.Unmarshal(want["type"], &wantType) == nil && want["type"][0] == '"' && ValidType(wantType) {
			if gotType != wantType {
				t.Errorf("type %q, want %q", gotType, wantType)
			}
			for name, value := range want {
				if name != "channel" && utf8.ValidString(name) && compactJSON(t, value) != string(got[name]) {
					t.Errorf("field %q is %s, want %s", name, got[name], value)
				}
			}
			return
		}
		if got["data"] == nil {
			t.Errorf("no data: %s", object)
		}
	})
}

func compactJSON(t *testing.T, value json.RawMessage) string {
	t.Helper()
	out, err := json.Marshal(jsonAsIs{value})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(out), `{"V":`), "}")
}

type jsonAsIs struct{ V json.RawMessage }

func TestExpires(t *testing.T) {
	p := Policy{HistorySize: 1, HistoryTTL: time.Hour, MessageTTL: time.Minute}
	e := Event{Position: Position{1000, 0}}
	if got := e.expires(&p); got != 61_000 {
		t.Errorf("with messageTTL: %d", got)
	}
	e.TTL = time.Second
	if got := e.expires(&p); got != 2000 {
		t.Errorf("with its own TTL: %d", got)
	}
	if got := (&Event{Position: Position{1000, 0}}).expires(&Policy{HistoryTTL: time.Hour}); got != 0 {
		t.Errorf("without history and TTL: %d", got)
	}
}
