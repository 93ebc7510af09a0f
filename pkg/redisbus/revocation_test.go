package redisbus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

// disconnect calls the script as of a moment, and returns the user's hash.
func (s *scripts) disconnect(at time.Time, user string, args ...any) map[string]string {
	s.t.Helper()
	s.mini.SetTime(at)
	if got := s.mustRun(fnDisconnect, "gw.user:"+user, args...); got != strconv.FormatInt(at.UnixMilli(), 10) && !slices.Contains(args, any("AT")) {
		s.t.Errorf("disconnect answers %v, want the time, %d", got, at.UnixMilli())
	}
	return s.client.HGetAll(s.t.Context(), "gw.user:"+user).Val()
}

func TestDisconnectKeepsWhatTokensHaveToBeRefused(t *testing.T) {
	t.Parallel()
	s := newScripts(t)
	begin := time.UnixMilli(1_800_000_000_000)
	value := func(at, until time.Time, reason string) string {
		return fmt.Sprintf("%d %d %s", at.UnixMilli(), until.UnixMilli(), reason)
	}
	heard := s.hear("gw.revoked")
	got := s.disconnect(begin, "alice", "REASON", "signed out", "TTL", 60_000)
	if want := map[string]string{"\n": value(begin, begin.Add(time.Minute), "signed out")}; !maps.Equal(got, want) {
		t.Errorf("kept is %q, want %q", got, want)
	}
	r, err := parseRevocation((<-heard).Payload)
	if want := (Revocation{User: "alice", At: begin, Until: begin.Add(time.Minute), Reason: "signed out"}); err != nil || fmt.Sprint(r) != fmt.Sprint(want) {
		t.Errorf("announced is %+v, %v", r, err)
	}
	if ttl := s.mini.TTL("gw.user:alice"); ttl != time.Minute {
		t.Errorf("the hash lives for %v", ttl)
	}

	// Parts of it go on their own, and the hash lives as long as the longest.
	s.disconnect(begin.Add(time.Second), "alice", "TOKEN", "t1")
	got = s.disconnect(begin.Add(2*time.Second), "alice", "channel", "project:42:**", "token", "t2", "TTL", 1000)
	want := map[string]string{
		"\n":                value(begin, begin.Add(time.Minute), "signed out"),
		"t1\n":              value(begin.Add(time.Second), begin.Add(time.Second+revocationLife), ""),
		"t2\nproject:42:**": value(begin.Add(2*time.Second), begin.Add(3*time.Second), ""),
	}
	if !maps.Equal(got, want) {
		t.Errorf("kept is %q, want %q", got, want)
	}
	if ttl := s.mini.TTL("gw.user:alice"); ttl != revocationLife-time.Second {
		t.Errorf("the hash lives for %v", ttl)
	}
	// What has ended goes with the next call.
	got = s.disconnect(begin.Add(4*time.Second), "alice", "TOKEN", "t3", "TTL", 1000)
	if _, still := got["t2\nproject:42:**"]; still || len(got) != 3 {
		t.Errorf("kept is %q", got)
	}
	// And what is part of a larger one.
	s.disconnect(begin.Add(4*time.Second), "alice", "CHANNEL", "a")
	got = s.disconnect(begin.Add(5*time.Second), "alice")
	if len(got) != 2 || got["t1\n"] == "" || got["\n"] != value(begin.Add(5*time.Second), begin.Add(5*time.Second+revocationLife), "") {
		t.Errorf("kept is %q", got)
	}
	// A token may have been issued by a clock that is ahead, but not for ever.
	if got = s.disconnect(begin.Add(time.Hour), "alice"); len(got) != 1 {
		t.Errorf("kept is %q", got)
	}
}

func TestDisconnectNeverForgetsByBeingRepeated(t *testing.T) {
	t.Parallel()
	s := newScripts(t)
	begin := time.UnixMilli(1_800_000_000_000)
	first := s.disconnect(begin.Add(time.Hour), "alice", "REASON", "newer", "TTL", 3_600_000)
	// A replica puts back what it knows, which is older.
	if got := s.disconnect(begin.Add(time.Hour), "alice", "AT", begin.UnixMilli(), "TTL", 3_700_000); !strings.HasPrefix(got["\n"], strconv.FormatInt(begin.Add(time.Hour).UnixMilli(), 10)) || !strings.HasSuffix(got["\n"], " newer") {
		t.Errorf("kept is %q, was %q", got, first)
	}
	// A shorter one does not shorten it, and nobody revokes the future.
	later := begin.Add(2 * time.Hour)
	got := s.disconnect(later.Add(-time.Minute), "alice", "TTL", 1, "AT", later.Add(time.Hour).UnixMilli())
	if want := fmt.Sprintf("%d %d ", later.Add(-time.Minute).UnixMilli(), later.UnixMilli()); !strings.HasPrefix(got["\n"], want) {
		t.Errorf("kept is %q, want %q", got, want)
	}
	// What would have ended already is not kept.
	if got := s.disconnect(later, "bob", "AT", begin.UnixMilli(), "TTL", 1000); len(got) != 0 {
		t.Errorf("kept is %q", got)
	}
}

func TestDisconnectRefusesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	s := newScripts(t)
	for _, tt := range []struct {
		key  string
		args []any
	}{
		{"gw.user:", nil}, {"gw:user:a", nil}, {"gw.users:a", nil}, {"gw.user:a\nb", nil}, {"gw.user:\xff", nil},
		{"gw.user:" + strings.Repeat("x", 256), nil},
		{"gw.user:a", []any{"REASON"}}, {"gw.user:a", []any{"WHY", "x"}}, {"gw.user:a", []any{"TOKEN", ""}},
		{"gw.user:a", []any{"TOKEN", "x", "TOKEN", "y"}}, {"gw.user:a", []any{"REASON", "a\nb"}},
		{"gw.user:a", []any{"TTL", "0"}}, {"gw.user:a", []any{"TTL", "1.5"}}, {"gw.user:a", []any{"TTL", "1e3"}},
		{"gw.user:a", []any{"CHANNEL", ""}}, {"gw.user:a", []any{"CHANNEL", "a::b"}}, {"gw.user:a", []any{"CHANNEL", "a b"}},
		{"gw.user:a", []any{"CHANNEL", "a:**:b"}}, {"gw.user:a", []any{"CHANNEL", "a*:b"}}, {"gw.user:a", []any{"CHANNEL", "a:***"}},
		{"gw.user:a", []any{"CHANNEL", "{sub}"}},
	} {
		if _, err := s.run(fnDisconnect, []string{tt.key}, tt.args...); err == nil || !strings.Contains(err.Error(), "ERR gateway: ") {
			t.Errorf("%q %q: %v", tt.key, tt.args, err)
		}
	}
	for _, pattern := range []string{"a", "a:b", "*", "**", "a:*", "a:**", "*:a:**", "a.b:c-d"} {
		s.mustRun(fnDisconnect, "gw.user:a", "CHANNEL", pattern)
		if _, err := channels.ParsePattern(pattern); err != nil {
			t.Errorf("%q is taken, and cannot be read: %v", pattern, err)
		}
	}
}

func TestAUserHasABoundedNumberOfRevocations(t *testing.T) {
	t.Parallel()
	s := newScripts(t)
	fields := make([]any, 0, 2000)
	for i := range 1000 {
		fields = append(fields, fmt.Sprintf("t%d\n", i), fmt.Sprintf("1 %d ", time.Now().Add(time.Hour).UnixMilli()))
	}
	s.client.HSet(t.Context(), "gw.user:a", fields...)
	if _, err := s.run(fnDisconnect, []string{"gw.user:a"}, "TOKEN", "one more"); err == nil || !strings.Contains(err.Error(), "as a whole") {
		t.Errorf("one too many: %v", err)
	}
	s.mustRun(fnDisconnect, "gw.user:a", "TOKEN", "t7")
	s.mustRun(fnDisconnect, "gw.user:a")
	if n := s.client.HLen(t.Context(), "gw.user:a").Val(); n != 2 {
		t.Errorf("%d are kept, want the one of all and the newest token", n)
	}
}

// watchman is a Guard that notes what it is told beside what the bus tells.
type watchman struct {
	*ears
	mu  sync.Mutex
	err error
}

func (g *watchman) Revoked(r Revocation) { g.notes <- "revoked " + r.User }
func (g *watchman) Refresh(context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notes <- "refresh"
	return g.err
}
func (g *watchman) answer(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
}

func TestALinkHearsOfRevocationsFirst(t *testing.T) {
	for _, links := range []int{1, 3} {
		t.Run(fmt.Sprint(links), func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			g := &watchman{ears: newEars(t)}
			b := beginBusAt(t, "redis://"+s.addr, func(o *Options) { o.Guard, o.Links = g, links })
			b.Subscribe("orders", false)
			for range links {
				g.wait("refresh")
			}
			b.ears.wait("confirmed orders")
			p := b.Publisher()
			if _, err := p.Disconnect(t.Context(), Revocation{User: "alice", Reason: "signed out"}); err != nil {
				t.Fatal(err)
			}
			for range links { // each hears it
				g.wait("revoked alice")
			}
			list := b.Revocations(t.Context(), []string{"bob", "alice"})
			if list[0].Err != nil || len(list[0].List) != 0 {
				t.Errorf("bob: %+v", list[0])
			}
			if list[1].Err != nil || len(list[1].List) != 1 || list[1].List[0].Reason != "signed out" || list[1].List[0].Until.Sub(list[1].List[0].At) != revocationLife {
				t.Errorf("alice: %+v", list[1])
			}

			// A link that comes back hears of no channel before it is refreshed.
			g.answer(errors.New("not now"))
			s.do("client", "kill", "type", "pubsub")
			b.ears.wait("deaf orders")
			g.wait("refresh")
			g.wait("refresh")
			g.answer(nil)
			for _, note := range b.ears.wait("confirmed orders") {
				if !strings.HasPrefix(note, "deaf ") {
					t.Errorf("before it was refreshed it told %q", note)
				}
			}
		})
	}
}

// In a Cluster each master's link hears of revocations that any master has.
func TestLinksOfShardsHearOfRevocations(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	g := &watchman{ears: newEars(t)}
	b := startBusAt(t, c.url(), func(o *Options) { o.Guard = g })
	p := b.Publisher()
	for i := range 6 {
		user := fmt.Sprint("user-", i)
		if _, err := p.Disconnect(t.Context(), Revocation{User: user}); err != nil {
			t.Fatal(err)
		}
		for range 4 { // three masters, and one link for ordinary Pub/Sub
			g.wait("revoked " + user)
		}
	}
	users := []string{"user-0", "nobody", "user-1", "user-2"}
	for i, r := range b.Revocations(t.Context(), users) {
		if r.Err != nil || (len(r.List) == 1) != (users[i] != "nobody") {
			t.Errorf("%s: %+v", users[i], r)
		}
	}
}

func TestRevocationsThatRedisLostArePutBack(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := startBusAt(t, "redis://"+s.addr)
	at := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	pattern := patternOf(t, "project:42:**")
	want := Revocation{User: "alice", Token: "t1", Channels: pattern, At: at, Until: at.Add(time.Hour), Reason: "moved on"}
	for range 2 {
		if err := b.Revoke(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	got := b.Revocations(t.Context(), []string{"alice"})[0]
	if got.Err != nil || len(got.List) != 1 || fmt.Sprint(got.List[0]) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s.do("hset", "gw.user:bob", "x", "y")
	if got := b.Revocations(t.Context(), []string{"bob"})[0]; got.Err == nil {
		t.Errorf("garbage is read as %+v", got.List)
	}
}

func TestDisconnectByScript(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t) // has no functions
	startBus(t, mini)
	p := newPublisher(client, "")
	if _, err := p.Disconnect(t.Context(), Revocation{User: "alice", Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if ttl := mini.TTL("gw.user:alice"); ttl < 59*time.Minute || ttl > time.Hour {
		t.Errorf("the hash lives for %v", ttl)
	}
	for _, user := range []string{"", strings.Repeat("x", 256)} {
		if _, err := p.Disconnect(t.Context(), Revocation{User: user}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", user, err)
		}
	}
	if _, err := p.Disconnect(t.Context(), Revocation{User: "a\nb"}); !errors.Is(err, ErrRefused) {
		t.Errorf("a line break: %v", err)
	}
}

func FuzzParseRevocation(f *testing.F) {
	f.Add("1 2\nalice\nt1\nproject:**\nreason")
	f.Add("1 2\nalice\n\n\n")
	f.Add("\n\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRevocation(text)
		if err != nil {
			return
		}
		if r.User == "" || r.At.IsZero() && r.At.UnixMilli() != 0 {
			t.Errorf("%q is read as %+v", text, r)
		}
		switch r.Scope() {
		case "user", "token", "channel":
		default:
			t.Errorf("scope %q", r.Scope())
		}
	})
}

// Garbage in a user's hash keeps nobody from taking rights back, and goes when
// all are.
func TestDisconnectOverWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newScripts(t)
	begin := time.UnixMilli(1_800_000_000_000)
	for _, field := range []string{"junk", "\n", "t1\n"} {
		s.client.HSet(t.Context(), "gw.user:alice", field, "garbage")
	}
	got := s.disconnect(begin, "alice", "TOKEN", "t1")
	if len(got) != 3 || got["junk"] != "garbage" || !strings.HasPrefix(got["t1\n"], "1800000000000 ") {
		t.Errorf("kept is %q", got)
	}
	if got := s.disconnect(begin.Add(time.Hour), "alice"); len(got) != 1 || !strings.HasPrefix(got["\n"], "1800003600000 ") {
		t.Errorf("kept is %q", got)
	}
}
