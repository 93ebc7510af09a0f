package load

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

func TestMarkerIsFoundInAnyPayload(t *testing.T) {
	want := Marker{Run: 1<<64 - 1, Channel: 9_999, Seq: 123_456_789_012, Sent: 1<<63 - 1}
	payload := string(want.AppendPayload(nil, 200))
	if len(payload) != 200 || !json.Valid([]byte(payload)) {
		t.Errorf("%d bytes: %s", len(payload), payload)
	}
	for name, line := range map[string]string{
		"as published":  payload,
		"in an event":   `data: {"channel":"a:b","data":` + payload + `}`,
		"as a string":   "data: " + strconv.Quote(payload),
		"after a tilde": "~load~" + payload,
	} {
		if got, ok := findMarker([]byte(line)); !ok || got != want {
			t.Errorf("%s: %v %+v", name, ok, got)
		}
	}
	if short := (Marker{}).AppendPayload(nil, 0); !json.Valid(short) {
		t.Errorf("%s", short)
	}
}

func TestMarkerThatIsNone(t *testing.T) {
	whole := string(Marker{Run: 5, Channel: 6, Seq: 7, Sent: 8}.append(nil))
	for _, line := range []string{"", "data: 1", "~load/", "~load/a/b/c/d~", "~load/1/2/3/4", "~load//2/3/4~", strings.Replace(whole, "/7/", "/-7/", 1)} {
		if m, ok := findMarker([]byte(line)); ok {
			t.Errorf("%q is %+v", line, m)
		}
	}
	for n := range len(whole) {
		if m, ok := findMarker([]byte(whole[:n])); ok {
			t.Errorf("%q is %+v", whole[:n], m)
		}
	}
}
