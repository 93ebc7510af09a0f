package redisbus

import (
	"fmt"
	"strings"
	"testing"
)

func TestScriptErrorsWriteNothing(t *testing.T) {
	long := strings.Repeat("a", 256)
	for _, tt := range []struct {
		function string
		keys     []string
		args     []any
		says     string
	}{
		{fnPublish, nil, []any{"x"}, "exactly one key"},
		{fnPublish, []string{"gw:orders", "gw:status:a"}, []any{"x"}, "exactly one key"},
		{fnPublish, []string{"orders"}, []any{"x"}, "does not begin with gw:"},
		{fnPublish, []string{"gw.orders"}, []any{"x"}, "does not begin with gw:"},
		{fnPublish, []string{""}, []any{"x"}, "does not begin with gw:"},
		{fnPublish, []string{"gw:"}, []any{"x"}, "1 to 255 bytes, this one has 0"},
		{fnPublish, []string{"gw:status:" + long}, []any{"x"}, "1 to 255 bytes, this one has 263"},
		{fnPublish, []string{"gw:status:ä"}, []any{"x"}, "consists of A-Z"},
		{fnPublish, []string{"gw:status:a b"}, []any{"x"}, "consists of A-Z"},
		{fnPublish, []string{"gw:status:a\x00"}, []any{"x"}, "consists of A-Z"},
		{fnPublish, []string{"gw:status:a\n"}, []any{"x"}, "consists of A-Z"},
		{fnPublish, []string{"gw:status:{a}"}, []any{"x"}, "consists of A-Z"},
		{fnPublish, []string{"gw:status:*"}, []any{"x"}, "consists of A-Z"},
		{fnPublish, []string{"gw::status"}, []any{"x"}, "no empty segment"},
		{fnPublish, []string{"gw:status:"}, []any{"x"}, "no empty segment"},
		{fnPublish, []string{"gw:status::a"}, []any{"x"}, "no empty segment"},
		{fnPublish, []string{"gw:gw:orders"}, []any{"x"}, "reserved"},
		{fnPublish, []string{"gw:gw.recorded"}, []any{"x"}, "reserved"},
		{fnPublish, []string{"gw:unknown"}, []any{"x"}, "no channel policy matches \"unknown\""},
		{fnPublish, []string{"gw:project:42"}, []any{"x"}, "no channel policy"},
		{fnPublish, []string{"gw:orders"}, nil, "payload is missing"},
		{fnPublish, []string{"gw:orders"}, []any{strings.Repeat("x", 1001)}, "1001 bytes, allowed are 1000"},
		{fnPublish, []string{"gw:orders"}, []any{"\xff"}, "not valid UTF-8"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "WHAT", "y"}, `unknown option "WHAT"`},
		{fnPublish, []string{"gw:orders"}, []any{"x", long, "y"}, `unknown option "` + long[:64] + `"`},
		{fnPublish, []string{"gw:orders"}, []any{"x", "EVENTID"}, "EVENTID needs a value"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "TYPE", "a", "ttl"}, "TTL needs a value"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "TYPE", "a", "type", "b"}, "TYPE is given twice"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "EVENTID", ""}, "EVENTID has 1 to 255 bytes"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "EVENTID", long}, "EVENTID has 1 to 255 bytes, this one has 256"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "EVENTID", "a\nb"}, "EVENTID must not contain control characters"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "EVENTID", "a\x7f"}, "EVENTID must not contain control characters"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "EVENTID", "a\x00"}, "EVENTID must not contain control characters"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "EVENTID", "\xc0\x80"}, "EVENTID is not valid UTF-8"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "TYPE", ""}, "TYPE has 1 to 255 bytes"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "TYPE", "a\rid: 1"}, "TYPE must not contain control characters"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "TYPE", "gateway.close"}, "reserved"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "TTL", "0"}, "TTL is a whole number"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "TTL", "-1"}, "TTL is a whole number"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "TTL", "1.5"}, "TTL is a whole number"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "TTL", "0x10"}, "TTL is a whole number"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "TTL", " 1"}, "TTL is a whole number"},
		{fnPublish, []string{"gw:orders"}, []any{"x", "TTL", "1000000000000000"}, "TTL is a whole number"},
		// A good option before a bad one must not count either.
		{fnPublish, []string{"gw:orders"}, []any{"x", "EVENTID", "good", "TTL", "soon"}, "TTL is a whole number"},
		{fnRecord, []string{"gw:orders"}, []any{"\xff", "", "me"}, "not valid UTF-8"},
		{fnRecord, []string{"gw:orders"}, []any{strings.Repeat("x", 1001), "", "me"}, "1001 bytes"},
		{fnRecord, []string{"gw:status:a"}, []any{"x", "", "me"}, "no history"},
		{fnRecord, []string{"gw:unknown"}, []any{"x", "", "me"}, "no channel policy"},
		{fnOpen, []string{"gw:unknown"}, nil, "no channel policy"},
		{fnOpen, []string{"gw:a::b"}, nil, "no empty segment"},
	} {
		t.Run(fmt.Sprintf("%s %.40q %.60q", tt.function, tt.keys, tt.args), func(t *testing.T) {
			s := newScripts(t)
			heard := s.hear("gw:orders", "gw:status:a", "gw.recorded")
			_, err := s.run(tt.function, tt.keys, tt.args...)
			if err == nil || !strings.HasPrefix(err.Error(), "ERR gateway: ") || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error is %v, want one of the gateway that says %q", err, tt.says)
			}
			if !isRefusal(err) {
				t.Error("it would be tried again")
			}
			if keys := s.mini.Keys(); len(keys) > 0 {
				t.Errorf("left behind: %q", keys)
			}
			s.client.Publish(t.Context(), "gw.recorded", "the first")
			if m := <-heard; m.Payload != "the first" {
				t.Errorf("announced: %q", m.Payload)
			}
		})
	}
}
