package redisbus

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/channels"
)

func TestKeys(t *testing.T) {
	k := keys{"gw"}
	for got, want := range map[string]string{
		k.stream("project:42:tasks"): "gw:project:42:tasks", k.recorded(): "gw.recorded", k.replicas(): "gw.replicas",
		k.script(): "gw.script", k.probe("x"): "gw.probe:x",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if channel, ok := k.channel(k.stream("a:b")); channel != "a:b" || !ok {
		t.Errorf("channel of a stream is %q, %v", channel, ok)
	}
	for name, own := range map[string]bool{
		"gw:a": true, "gw:": true, "gw.a": true, "gw.recorded": true, "gw": false, "gwx": false, "gw-a": false, "a": false, "a:gw:b": false, "g": false, "": false,
	} {
		if got := k.own(name); got != own {
			t.Errorf("own(%q) is %v", name, got)
		}
		if got := k.check(name) != nil; got != own {
			t.Errorf("check(%q) is %v", name, k.check(name))
		}
	}
	for _, name := range []string{"gw", "gw.a", "a"} {
		if channel, ok := k.channel(name); ok {
			t.Errorf("%q is the stream of %q", name, channel)
		}
	}
}

func TestOutdates(t *testing.T) {
	policies := testPolicies(t)
	l := newLibrary("gw", 100, policies, announceEverywhere)
	same, other := newLibrary("gw", 100, policies, announceEverywhere), newLibrary("gw", 200, policies, announceEverywhere)
	if l.digest != same.digest || l.digest == other.digest {
		t.Fatal("a library is known by its settings")
	}
	older, newer := libraryVersion-1, libraryVersion+1
	for _, tt := range []struct {
		name  string
		info  string
		stamp int64
		want  bool
	}{
		{"the same", l.info(identity{stamp: 5}), 9, false},
		{"other settings, started before", other.info(identity{stamp: 5}), 9, true},
		{"other settings, started after", other.info(identity{stamp: 9}), 5, false},
		{"other settings, started at the same time", other.info(identity{stamp: 5}), 5, false},
		{"an older version, though started after", fmt.Sprintf("%d gw x 9", older), 5, true},
		{"a newer version, though started before", fmt.Sprintf("%d gw x 5", newer), 9, false},
		{"nothing", "", 9, true},
		{"something else", "hello", 9, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := l.outdates(tt.info, identity{stamp: tt.stamp}, nobodyGone); got != tt.want || err != nil {
				t.Errorf("outdates is %v, %v", got, err)
			}
		})
	}
	if got, err := l.outdates(newLibrary("shop", 100, policies, announceEverywhere).info(identity{stamp: 5}), identity{stamp: 9}, nobodyGone); got || err == nil || !strings.Contains(err.Error(), `"shop"`) {
		t.Errorf("the library of another prefix: %v, %v", got, err)
	}
}

func nobodyGone(string) bool { return false }

// What a replica loaded that lives no more is replaced by who does.
func TestOutdatesWhatTheDeadLoaded(t *testing.T) {
	l, other := newLibrary("gw", 100, testPolicies(t), announceEverywhere), newLibrary("gw", 200, testPolicies(t), announceEverywhere)
	self := identity{stamp: 5, replica: "self"}
	for name, want := range map[string]bool{"dead one": true, "alive": false, "": false} {
		gone := func(replica string) bool { return replica == infoName("dead one") }
		if got, err := l.outdates(other.info(identity{9, name}), self, gone); got != want || err != nil {
			t.Errorf("loaded by %q: outdates is %v, %v", name, got, err)
		}
		if got, _ := l.outdates(l.info(identity{9, name}), self, gone); got {
			t.Errorf("the same, loaded by %q, is replaced", name)
		}
	}
	newer := strings.Replace(other.info(identity{9, "dead one"}), fmt.Sprintf("%d gw", libraryVersion), fmt.Sprintf("%d gw", libraryVersion+1), 1)
	if got, _ := l.outdates(newer, self, func(string) bool { return true }); got {
		t.Error("a newer version is replaced")
	}
}

// A replica with other policies takes them along when it ends.
func TestPoliciesOfAReplicaThatIsGone(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	stays := startBusAt(t, "redis://"+s.addr, func(o *Options) { o.Replica = "stays" })
	p := stays.Publisher()
	publish := func() error {
		_, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"})
		return err
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	mistaken := startBusAt(t, "redis://"+s.addr, func(o *Options) {
		o.Replica, o.Policies = "mistaken", policiesOf(t, channels.Policy{Pattern: patternOf(t, "other")})
	})
	eventually(t, "the mistaken policies are in force", func() bool { return errors.Is(publish(), ErrRefused) })
	mistaken.stop()
	eventually(t, "they are gone", func() bool { return publish() == nil })
}

// Whichever order replicas of two configurations check in, they come to rest.
func TestOutdatesSettles(t *testing.T) {
	a, b := newLibrary("gw", 100, testPolicies(t), announceEverywhere), newLibrary("gw", 200, testPolicies(t), announceEverywhere)
	for _, stamps := range [][2]int64{{1, 2}, {2, 1}, {1, 1}} {
		loaded := ""
		changes := 0
		for range 10 {
			for _, r := range []struct {
				l     *library
				stamp int64
			}{{a, stamps[0]}, {b, stamps[1]}} {
				if outdated, _ := r.l.outdates(loaded, identity{stamp: r.stamp}, nobodyGone); outdated {
					loaded = r.l.info(identity{stamp: r.stamp})
					changes++
				}
			}
		}
		if changes > 2 {
			t.Errorf("stamps %v: the library was replaced %d times", stamps, changes)
		}
	}
}

// FuzzLuaPattern runs patterns in Lua, as gateway.lua does, and compares them
// with the matcher in Go.
func FuzzLuaPattern(f *testing.F) {
	for _, s := range [][2]string{
		{"project:*:tasks", "project:42:tasks"}, {"project:*:tasks", "project:42:x:tasks"}, {"**", "a"}, {"**", "a:b"}, {"a:**", "a"},
		{"a:**", "a:b:c"}, {"user:{sub}", "user:alice"}, {"a.b", "axb"}, {"a.b", "a.b"}, {"a-b+c", "a-b+c"}, {"a-b", "b"}, {"a+", "aa"}, {"*", "a"}, {"*", "a:b"},
		{"~@/+=-_.", "~@/+=-_."}, {"*:**", "a:b"}, {"*:**", "a"}, {"a:*:**", "a:b"}, {"a", "a\n"}, {"a", "a:"}, {"a", ":a"},
	} {
		f.Add(s[0], s[1])
	}
	mini, client := miniRedis(f)
	_ = mini
	script := redis.NewScript("return string.find(ARGV[1], ARGV[2]) and 1 or 0")
	f.Fuzz(func(t *testing.T, source, channel string) {
		p, err := channels.ParsePattern(source)
		if err != nil || channels.CheckName(channel) != nil {
			return
		}
		got, err := script.Run(t.Context(), client, nil, channel, luaPattern(p)).Int()
		if err != nil {
			t.Fatalf("%q in Lua is %q: %v", source, luaPattern(p), err)
		}
		if want := p.MatchAnyone(channel); (got == 1) != want {
			t.Errorf("%q (%q) matches %q: %v in Lua, %v in Go", source, luaPattern(p), channel, got == 1, want)
		}
	})
}

// miniRedis starts a Redis in memory whose keys expire with the clock.
func miniRedis(t testing.TB) (*miniredis.Miniredis, *redis.Client) {
	t.Helper()
	mini := miniredis.NewMiniRedis()
	if err := mini.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mini.Close)
	mini.ClockTTL(true)
	client := redis.NewClient(&redis.Options{Addr: mini.Addr(), Protocol: 2, DisableIdentity: true, MaintNotificationsConfig: noNotifications()})
	t.Cleanup(func() { client.Close() })
	return mini, client
}

// testPolicies are used by most tests: "status:**" has no history.
func testPolicies(t testing.TB) channels.Policies {
	t.Helper()
	return policiesOf(t,
		channels.Policy{Pattern: patternOf(t, "status:**")},
		channels.Policy{Pattern: patternOf(t, "small:*"), HistorySize: 3},
		channels.Policy{Pattern: patternOf(t, "project:*:tasks"), HistorySize: 1000},
		channels.Policy{Pattern: patternOf(t, "orders"), HistorySize: 1000},
	)
}

func policiesOf(t testing.TB, list ...channels.Policy) channels.Policies {
	t.Helper()
	policies, err := channels.NewPolicies(list)
	if err != nil {
		t.Fatal(err)
	}
	return policies
}

func patternOf(t testing.TB, source string) channels.Pattern {
	t.Helper()
	p, err := channels.ParsePattern(source)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
