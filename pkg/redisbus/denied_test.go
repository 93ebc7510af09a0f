package redisbus

import (
	"slices"
	"strings"
	"testing"
)

// gatewayRights are more than enough on one server.
var gatewayRights = []any{
	"~gw:*", "~gw.*", "resetchannels", "&*", "+@all",
}

// A right that is missing is named, with what it is for and where to read on.
func TestMissingRightsAreNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		without []any
		part    string
		says    []string
	}{
		{[]any{"-script|load"}, "redis library", []string{"load its scripts", "script|load"}},
		{[]any{"-hset"}, "redis library", []string{"write the key gw.script", "hset"}},
		{[]any{"resetkeys", "~gw:*"}, "redis library", []string{"read the key gw.script"}},
		{[]any{"-zadd"}, "redis plain publish", []string{"gateway_join", "gw.replicas"}},
		{[]any{"-psubscribe"}, "redis plain publish", []string{"psubscribe"}},
		{[]any{"resetchannels", "&gw:*", "&gw.*", "&gw.recorded", "&orders"}, "redis plain publish", []string{"project:*", "channels"}},
		{[]any{"resetchannels", "&gw:*"}, "redis", []string{"gw.probe:", "channels"}},
	} {
		s := startServer(t)
		s.asUser(t, "gateway", append(slices.Clone(gatewayRights), tt.without...)...)
		b := beginBusAt(t, "redis://gateway:secret@"+s.addr)
		text := ""
		eventually(t, strings.Join(tt.says, " and ")+" is said of "+tt.part, func() bool {
			if err := b.State()[tt.part]; err != nil {
				text = err.Error()
			}
			for _, want := range append(tt.says, "docs/redis-acl.md", "lacks a right") {
				if !strings.Contains(text, want) {
					return false
				}
			}
			return true
		})
		if strings.Contains(text, "\n") || strings.Contains(text, "secret") {
			t.Errorf("it says %q", text)
		}
		b.stop()
	}
}

// A payload that cannot be recorded for want of a right is not the publisher's
// fault: it waits.
func TestPayloadsWaitForTheRightToRecord(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.asUser(t, "gateway", append(slices.Clone(gatewayRights), "-xadd")...)
	b := startBusAt(t, "redis://gateway:secret@"+s.addr)
	settled(t, b)
	s.do("publish", "orders", "x")
	eventually(t, "it is tried", func() bool {
		return len(s.do("acl", "log").([]any)) > 0
	})
	s.do("acl", "setuser", "gateway", "+xadd")
	wantRecorded(t, s.db, "orders", map[string]int{"x": 1}, b)
}
