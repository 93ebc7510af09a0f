package redisbus

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
)

// logLines is a log that tests read while it is written.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// with returns the lines that hold a text.
func (l *logLines) with(part string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(strings.Split(l.text.String(), "\n"), func(line string) bool { return !strings.Contains(line, part) })
}

func (l *logLines) options(o *Options) { o.Logger = slog.New(slog.NewTextHandler(l, nil)) }

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

// What a publisher's own user may not is said with what it is for, and of the
// gateway's own user the log is told, once for many.
func TestPublisherWithoutARight(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.asUser(t, "gateway", append(slices.Clone(gatewayRights), "-xadd")...)
	log := &logLines{}
	b := startBusAt(t, "redis://gateway:secret@"+s.addr, log.options)
	own := b.Publisher()
	for who, p := range map[string]*Publisher{"the gateway": own, "another": openPublisher(t, "gateway:secret@"+s.addr)} {
		for range 3 {
			_, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"})
			if !errors.Is(err, ErrDenied) || errors.Is(err, ErrRefused) {
				t.Fatalf("%s: the error is %v, want ErrDenied", who, err)
			}
			for _, part := range []string{`publish to "orders"`, "lacks a right needed to call gateway_publish", "docs/redis-acl.md"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: the error is %v, want one with %s", who, err, part)
				}
			}
		}
	}
	lines := log.with("cannot be published")
	if len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], "docs/redis-acl.md") {
		t.Errorf("the log says %q", lines)
	}
	s.do("acl", "setuser", "gateway", "-hgetall")
	if _, err := own.Disconnect(t.Context(), Revocation{User: "alice"}); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "call gateway_disconnect") {
		t.Errorf("disconnect: the error is %v", err)
	}
}
