package webhook

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestParseAnswer(t *testing.T) {
	long := strings.Repeat("ä", maxReason)
	for _, tt := range []struct {
		body string
		want answer
	}{
		{`{"allow":true}`, answer{allow: true}},
		{` {"allow":false, "ttl":0, "reason":"no"} ` + "\n", answer{ttlSet: true, reason: "no"}},
		{`{"allow":true,"ttl":0.25}`, answer{allow: true, ttlSet: true, ttl: 250 * time.Millisecond}},
		{`{"allow":true,"ttl":1e300}`, answer{allow: true, ttlSet: true, ttl: maxTTL}},
		{`{"allow":true,"ttl":null,"reason":null}`, answer{allow: true}},
		{`{"allow":true,"more":{"allow":false},"Allow":false,"":[]}`, answer{allow: true}},
		{`{"\u0061llow":true}`, answer{allow: true}},
		{`{"allow":false,"reason":" two\r\nevent: x\u0000 \u2028\u202e lines\ud800 "}`, answer{reason: "two event: x lines\uFFFD"}},
		{`{"allow":false,"reason":"` + long + `"}`, answer{reason: long[:maxReason]}},
	} {
		if got, err := parseAnswer([]byte(tt.body)); err != nil || got != tt.want {
			t.Errorf("parseAnswer(%s) = %+v, %v, want %+v", tt.body, got, err, tt.want)
		}
	}
	for _, body := range []string{
		"", "null", "true", `"allow"`, "[]", `[{"allow":true}]`, "{}", `{"allow":true`, `{"allow":true}}`, `{"allow":true}{"allow":true}`,
		`{"allow":"true"}`, `{"allow":1}`, `{"allow":null}`, `{"allow":[true]}`, `{"Allow":true}`, `{"ALLOW":true}`, `{"data":{"allow":true}}`,
		`{"allow":false,"allow":true}`, `{"allow":true,"\u0061llow":true}`, `{"allow":true,"ttl":1,"ttl":2}`,
		`{"allow":true,"ttl":"60"}`, `{"allow":true,"ttl":-1}`, `{"allow":true,"ttl":1e400}`, `{"allow":true,"ttl":NaN}`, `{"allow":true,"ttl":{}}`,
		`{"allow":true,"reason":7}`, "{\"allow\":true,\"reason\":\"\xff\"}", "\xef\xbb\xbf{\"allow\":true}", "<p>", `{"allow":true} <p>`,
		`{"allow":true,"reason":"` + strings.Repeat("a", maxAnswer) + `"}`,
	} {
		if got, err := parseAnswer([]byte(body)); err == nil {
			t.Errorf("parseAnswer(%.60s) = %+v, want an error", body, got)
		} else if got.allow {
			t.Errorf("parseAnswer(%.60s) allows beside the error %v", body, err)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, body := range []string{
		`{"allow":true}`, `{"allow":false,"ttl":1.5,"reason":"no\u0000\n"}`, `{"allow":true,"ttl":1e99}`, `{"allow":null}`,
		`{"Allow":true}`, `{"allow":false,"allow":true}`, `[true]`, "{\"allow\":true,\"reason\":\"\xff\"}", `{"a":{"allow":true}}`, "",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := parseAnswer(body)
		if err != nil {
			if a != (answer{}) {
				t.Fatalf("%+v beside the error %v", a, err)
			}
			return
		}
		// Another reader, one that forgives, must see the same in it.
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(body, &fields); err != nil || string(fields["allow"]) != map[bool]string{true: "true", false: "false"}[a.allow] {
			t.Fatalf("%+v of %q", a, body)
		}
		if a.ttl < 0 || a.ttl > maxTTL || !a.ttlSet && a.ttl != 0 {
			t.Fatalf("ttl is %v", a.ttl)
		}
		if len(a.reason) > maxReason || !utf8.ValidString(a.reason) || strings.ContainsFunc(a.reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("reason is %q", a.reason)
		}
	})
}
