package redisbus

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// A channel that the gateway's user may not hear costs the others nothing: with
// a public pattern anybody can ask for it.
func TestADeniedChannelCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"single", "cluster"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			rights := append(slices.Clone(gatewayRights), "resetchannels", "&gw:*", "&gw.*", "&gw.recorded", "&orders", "&small:*", "&project:*")
			var log logLines
			var lost atomic.Int32
			hears := func(o *Options) {
				log.options(o)
				o.Hooks.Lost = func(LinkLoss) { lost.Add(1) }
			}
			var b *running
			var servers []*redisServer
			if kind == "single" {
				servers = append(servers, startServer(t))
				servers[0].asUser(t, "gateway", rights...)
				b = startBusAt(t, "redis://gateway:secret@"+servers[0].addr, hears)
			} else {
				c := startCluster(t)
				for _, n := range c.nodes {
					servers = append(servers, n)
					n.asUser(t, "gateway", rights...)
				}
				b = startBusAt(t, strings.Replace(c.url(), "://", "://gateway:secret@", 1), hears)
			}
			b.Subscribe("orders", false)
			b.wait("confirmed orders")
			var confirmed []string
			for i := range 100 {
				channel := fmt.Sprint("small:", i)
				confirmed = append(confirmed, "confirmed "+channel)
				b.Subscribe(channel, false)
				if i%10 == 0 {
					b.Subscribe(fmt.Sprint("status:", i), true)
				}
			}
			b.wait(confirmed...)
			b.publish(t, "orders", "x")
			b.wait("announced orders x")
			eventually(t, "the log names one that is not heard", func() bool { return len(log.with("status:")) > 0 })
			if line := log.with("status:")[0]; !strings.Contains(line, "lacks a right needed to subscribe to status:") || !strings.Contains(line, "docs/redis-acl.md") {
				t.Errorf("the log says %s", line)
			}
			for part, err := range b.State() {
				if err != nil {
					t.Errorf("%s: %v", part, err)
				}
			}
			for _, s := range servers {
				s.do("acl", "setuser", "gateway", "&status:*")
			}
			eventually(t, "it is heard once the right is given", func() bool {
				for _, s := range servers {
					if n := s.do("pubsub", "numsub", "status:10").([]any)[1]; n == int64(1) {
						return true
					}
				}
				return false
			})
			if n := lost.Load(); n > 0 {
				t.Errorf("connections were lost %d times", n)
			}
		})
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

// wantTrouble waits until what is wrong with a part says all of this.
func wantTrouble(t *testing.T, b *running, part string, says ...string) {
	t.Helper()
	eventually(t, part+" says "+strings.Join(says, " and "), func() bool {
		err := b.State()[part]
		return err != nil && !slices.ContainsFunc(says, func(s string) bool { return !strings.Contains(err.Error(), s) })
	})
}

// Where functions are denied and scripts are too, it is the functions' right
// that is missing, and the gateway says so. It takes it when it is given.
func TestDeniedFunctionsAreNamedBesideDeniedScripts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		without []any
		flush   bool
		says    []string
	}{
		{"fcall", []any{"-fcall", "-evalsha"}, false, []string{"'fcall'", "'evalsha'"}},
		{"fcall and loading scripts", []any{"-fcall", "-script|load"}, false, []string{"'fcall'", "'script|load'"}},
		{"function|load", []any{"-function|load", "-evalsha"}, true, []string{"'function|load'", "'evalsha'"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			s.asUser(t, "gateway", gatewayRights...)
			log := &logLines{}
			deny := func() { s.do(append([]any{"acl", "setuser", "gateway"}, tt.without...)...) }
			if !tt.flush {
				deny()
			}
			b := beginBusAt(t, "redis://gateway:secret@"+s.addr, log.options)
			if tt.flush {
				b.wantState(t, true)
				deny()
				s.do("function", "flush")
			}
			says := append(tt.says, "functions are denied (", ", and scripts too (", "docs/redis-acl.md")
			wantTrouble(t, b, "redis library", says...)
			if b.Ready() {
				t.Error("the gateway counts as ready")
			}
			if len(log.with("redis denies functions")) != 1 {
				t.Errorf("the log has not one line about functions:\n%s", log.text.String())
			}
			p := b.Publisher()
			if tt.without[1] == "-evalsha" {
				if _, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"}); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), tt.says[0]) {
					t.Errorf("publishing: the error is %v, want one with %s", err, tt.says[0])
				}
			}
			s.do("acl", "setuser", "gateway", "+fcall", "+function|load", "+script|load")
			eventually(t, "the gateway is ready", b.Ready)
			if _, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A publisher that may neither call functions nor read where scripts are is told
// of the first, too, and one that waits for functions to be loaded again is not
// refused.
func TestPublisherWithoutFunctions(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	startBusAt(t, "redis://"+s.addr)
	rights := slices.DeleteFunc(slices.Clone(restricted), func(r any) bool { return r == "+fcall" || r == "+evalsha" })
	s.asUser(t, "service", rights...)
	p := openPublisher(t, "service:secret@"+s.addr)
	for _, more := range [][]any{{}, {"+hget", "~gw.script"}} {
		s.do(append([]any{"acl", "setuser", "service"}, more...)...)
		for range 2 {
			_, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"})
			_, disconnectErr := p.Disconnect(t.Context(), Revocation{User: "alice"})
			for _, err := range []error{err, disconnectErr} {
				if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "functions are denied (NOPERM") || !strings.Contains(err.Error(), "'fcall'") {
					t.Errorf("with %v the error is %v, want one that names fcall", more, err)
				}
			}
		}
	}
	s.do("acl", "setuser", "service", "+fcall")
	s.do("function", "flush")
	if _, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"}); err != nil {
		t.Error(err)
	}
}
