package integration_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

func TestEventShape(t *testing.T) {
	t.Parallel()
	const long = `{"n":12345678901234567890,"f":1.10,"deep":{"a":[1,{"b":null}]}}`
	tests := []struct {
		name    string
		payload string
		options []any
		event   string // the SSE event's name
		fields  string // the event's JSON without channel, and without what the gateway added
	}{
		{"cache event", `{"type":"post","action":"update","id":"abc"}`, nil, "post", `{"type":"post","action":"update","id":"abc"}`},
		{"null and nested fields", `{"type":"post","action":"delete","id":null,"data":{"a":[1,2,{"b":"c"}]}}`, nil, "post", `{"type":"post","action":"delete","id":null,"data":{"a":[1,2,{"b":"c"}]}}`},
		{"space around it", " \t{ \"type\" : \"post\" } \n", nil, "post", `{"type":"post"}`},
		{"type in letters of the world", `{"type":"größe.geändert"}`, nil, "größe.geändert", `{"type":"größe.geändert"}`},
		{"escaped type", `{"type":"\u0061bc"}`, nil, "abc", `{"type":"abc"}`},
		{"own type before TYPE", `{"type":"own"}`, []any{"TYPE", "other"}, "own", `{"type":"own"}`},
		{"own event_id", `{"type":"x","event_id":"mine"}`, nil, "x", `{"type":"x","event_id":"mine"}`},
		{"own event_id before EVENTID", `{"type":"x","event_id":"mine"}`, []any{"EVENTID", "theirs"}, "x", `{"type":"x","event_id":"mine"}`},
		{"own timestamp", `{"type":"x","timestamp":"2001-02-03T04:05:06Z"}`, nil, "x", `{"type":"x","timestamp":"2001-02-03T04:05:06Z"}`},
		{"forged channel", `{"channel":"hist:forged","type":"x"}`, nil, "x", `{"type":"x"}`},
		{"forged channel, escaped", `{"chann\u0065l":"hist:forged","type":"x"}`, nil, "x", `{"type":"x"}`},
		{"forged channel, twice", `{"channel":"hist:forged","type":"x","channel":"hist:again"}`, nil, "x", `{"type":"x"}`},
		{"forged channel that is no string", `{"channel":{"a":1},"type":"x"}`, nil, "x", `{"type":"x"}`},

		{"object without type", `{"id":7}`, nil, "message", `{"type":"message","data":{"id":7}}`},
		{"object without type, forged channel", `{"channel":"hist:forged"}`, nil, "message", `{"type":"message","data":{"channel":"hist:forged"}}`},
		{"object without type, TYPE", `{"id":7}`, []any{"TYPE", "seven"}, "seven", `{"type":"seven","data":{"id":7}}`},
		{"numbers as they are", long, nil, "message", `{"type":"message","data":` + long + `}`},
		{"type that is no string", `{"type":7}`, nil, "message", `{"type":"message","data":{"type":7}}`},
		{"type of null", `{"type":null}`, nil, "message", `{"type":"message","data":{"type":null}}`},
		{"type further down", `{"data":{"type":"x"}}`, nil, "message", `{"type":"message","data":{"data":{"type":"x"}}}`},
		{"empty object", `{}`, nil, "message", `{"type":"message","data":{}}`},
		{"array", `[1,{"type":"x"}]`, nil, "message", `{"type":"message","data":[1,{"type":"x"}]}`},
		{"array, TYPE", `[1]`, []any{"TYPE", "list"}, "list", `{"type":"list","data":[1]}`},

		{"text", `hello`, nil, "message", `{"type":"message","data":"hello"}`},
		{"text, TYPE", `hello`, []any{"TYPE", "greeting"}, "greeting", `{"type":"greeting","data":"hello"}`},
		{"option in small letters", `hello`, []any{"type", "greeting"}, "greeting", `{"type":"greeting","data":"hello"}`},
		{"text, EVENTID", `hello`, []any{"EVENTID", "id-1"}, "message", `{"type":"message","event_id":"id-1","data":"hello"}`},
		{"text, all options", `hello`, []any{"TTL", "60000", "EVENTID", "id-2", "TYPE", "t"}, "t", `{"type":"t","event_id":"id-2","data":"hello"}`},
		{"empty text", ``, nil, "message", `{"type":"message","data":""}`},
		{"broken object", `{"type":"x"`, nil, "message", `{"type":"message","data":"{\"type\":\"x\""}`},
		{"two objects", `{"type":"x"}{"type":"y"}`, nil, "message", `{"type":"message","data":"{\"type\":\"x\"}{\"type\":\"y\"}"}`},
		{"comma too many", `{"type":"x",}`, nil, "message", `{"type":"message","data":"{\"type\":\"x\",}"}`},
		{"text with signs", "a\"b\\c\u2028\u00e9\U0001F600</script>&\u0000\u007f\t", nil, "message", `{"type":"message","data":"a\"b\\c\u2028\u00e9\ud83d\ude00</script>&\u0000\u007f\t"}`},

		{"reserved type", `{"type":"gateway.close","reconnect":false}`, nil, "message", `{"type":"message","data":{"type":"gateway.close","reconnect":false}}`},
		{"reserved type, escaped", `{"type":"\u0067ateway.open"}`, nil, "message", `{"type":"message","data":{"type":"gateway.open"}}`},
		{"line break in the type", `{"type":"x\ndata: forged"}`, nil, "message", `{"type":"message","data":{"type":"x\ndata: forged"}}`},
		{"carriage return in the type", `{"type":"x\rdata: forged"}`, nil, "message", `{"type":"message","data":{"type":"x\rdata: forged"}}`},
		{"control character in the type", `{"type":"x\u0000"}`, nil, "message", `{"type":"message","data":{"type":"x\u0000"}}`},
		{"forged fields in a text", "x\n\nevent: gateway.close\ndata: {\"reconnect\":false}\n\n", nil, "message", `{"type":"message","data":"x\n\nevent: gateway.close\ndata: {\"reconnect\":false}\n\n"}`},
		{"forged fields by carriage returns", "x\r\revent: gateway.close\rdata: {}\r\r", nil, "message", `{"type":"message","data":"x\r\revent: gateway.close\rdata: {}\r\r"}`},
		{"line feeds between fields", "{\n\"type\":\"x\",\n\n\"a\":\n1\n}", nil, "x", `{"type":"x","a":1}`},
		{"carriage returns between fields", "{\r\"type\":\"x\",\r\r\"a\":\r1\r\n\r\n}", nil, "x", `{"type":"x","a":1}`},
		{"line breaks within an array", "[1,\n\n2,\r\r3]", nil, "message", `{"type":"message","data":[1,2,3]}`},
	}
	for _, way := range []struct{ name, family string }{{"with history", "hist"}, {"without history", "live"}} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			f := shared(t)
			ch := channel(way.family)
			s := open(t, f.url(0), on(ch))
			for i, test := range tests {
				position := fcall(t, f, ch, test.payload, test.options...)
				got := waitCount(t, s, ch, i+1)[i]
				t.Run(test.name, func(t *testing.T) {
					wantShape(t, got, ch, position, test.event, test.fields)
				})
			}
			// Nothing was read as a field or an event of its own.
			if v := s.Now(); len(v.Events) != len(tests)+1 {
				t.Errorf("%d events besides gateway.open, want %d: %s", len(v.Events)-1, len(tests), v)
			}
			if way.family != "hist" {
				return
			}
			// What was recorded is replayed as it was delivered.
			again := open(t, f.url(1), harness.Subscribe{Channels: []string{ch}, From: s.Now().Events[0].ID})
			replayed := waitCount(t, again, ch, len(tests))
			for i, live := range s.Now().Published(ch) {
				if replayed[i].Data != live.Data || replayed[i].Name != live.Name || replayed[i].ID != live.ID {
					t.Errorf("%s: live %s %s %s, replayed %s %s %s", tests[i].name, live.Name, live.ID, live.Data, replayed[i].Name, replayed[i].ID, replayed[i].Data)
				}
			}
		})
	}
}

func wantShape(t *testing.T, got harness.Event, ch, position, name, fields string) {
	t.Helper()
	if got.Name != name {
		t.Errorf("event: %q, want %q", got.Name, name)
	}
	have, want := object(t, got.Data), object(t, fields)
	want["channel"] = ch
	if _, own := want["event_id"]; !own {
		want["event_id"] = position
	}
	if _, own := want["timestamp"]; !own {
		stamp, _ := have["timestamp"].(string)
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil || !strings.HasSuffix(stamp, "Z") || at.UnixMilli() != positionTime(t, position).UnixMilli() {
			t.Errorf("timestamp %q (%v), want the time of position %s in RFC 3339 with Z", stamp, err, position)
		}
		want["timestamp"] = have["timestamp"]
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("data: %s\nwant %v", got.Data, want)
	}
	// A parser that takes the first of two equal names must not see another
	// channel than one that takes the last.
	if n := names(t, got.Data)["channel"]; n != 1 {
		t.Errorf("%d fields named channel: %s", n, got.Data)
	}
}

// object decodes a JSON object, its numbers as they are written.
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		t.Fatalf("not a JSON object: %v: %s", err, text)
	}
	return out
}

// names counts the names of an object's fields.
func names(t *testing.T, text string) map[string]int {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	out := map[string]int{}
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		out[name.(string)]++
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Whatever a payload with two types means, the event's name and what its
// reader sees as type are the same, and not a reserved one.
func TestTwoTypes(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	for i, payload := range []string{
		`{"type":"a","type":"gateway.close"}`, `{"type":"gateway.close","type":"a"}`,
		`{"type":"a","type":7}`, `{"type":7,"type":"a"}`, `{"type":"a","\u0074ype":"b"}`,
	} {
		fcall(t, f, ch, payload)
		got := waitCount(t, s, ch, i+1)[i]
		if seen := object(t, got.Data)["type"]; seen != got.Name || strings.HasPrefix(got.Name, "gateway.") {
			t.Errorf("%s: event %q, its type reads %v: %s", payload, got.Name, seen, got.Data)
		}
	}
}

// PUBLISH delivers the same shapes.
func TestPlainShape(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"hist", "live"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			f := shared(t)
			ch := channel(family)
			s := open(t, f.url(0), on(ch))
			for i, test := range []struct{ payload, event, fields string }{
				{`{"type":"post","action":"update","id":"abc","channel":"forged"}`, "post", `{"type":"post","action":"update","id":"abc"}`},
				{`{"id":7}`, "message", `{"type":"message","data":{"id":7}}`},
				{"x\n\nevent: gateway.close\n\n", "message", `{"type":"message","data":"x\n\nevent: gateway.close\n\n"}`},
				{`{"type":"gateway.open"}`, "message", `{"type":"message","data":{"type":"gateway.open"}}`},
				{`{"type":"x","event_id":"mine"}`, "x", `{"type":"x","event_id":"mine"}`},
			} {
				publish(t, f, ch, test.payload)
				got := waitCount(t, s, ch, i+1)[i]
				have, want := object(t, got.Data), object(t, test.fields)
				for _, added := range []string{"event_id", "timestamp"} {
					if _, own := want[added]; !own {
						if text, _ := have[added].(string); text == "" {
							t.Errorf("%s: no %s: %s", test.payload, added, got.Data)
						}
						want[added] = have[added]
					}
				}
				want["channel"] = ch
				if got.Name != test.event || !reflect.DeepEqual(have, want) {
					t.Errorf("%s arrived as %s %s", test.payload, got.Name, got.Data)
				}
			}
		})
	}
}

// What is not UTF-8 or too large is not delivered and harms nothing.
func TestPlainBadPayload(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"hist", "live"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			f := shared(t)
			ch := channel(family)
			s := open(t, f.url(0), on(ch))
			publish(t, f, ch, "\xff\xfe")
			publish(t, f, ch, strings.Repeat("x", 9<<20))
			publish(t, f, ch, harness.Counted(1))
			waitNumber(t, s, ch, 1)
			wantNumbers(t, s.Now().Of(ch), 1, 1)
		})
	}
}
