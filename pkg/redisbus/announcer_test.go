package redisbus

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/channels"
)

// asUser adds a user with these rights, and talks to the server as it.
func (s *redisServer) asUser(t *testing.T, name string, rights ...any) *redis.Client {
	t.Helper()
	s.do(append([]any{"acl", "setuser", name, "reset", "on", ">secret"}, rights...)...)
	o := asking(&redis.Options{Addr: s.addr})
	o.Username, o.Password = name, "secret"
	db := redis.NewClient(o)
	t.Cleanup(func() { db.Close() })
	return db
}

// restricted may publish to its channels' bare names, and not announce.
var restricted = []any{
	"~gw:*", "~gw.seen:{gw:*", "resetchannels", "&orders", "&status:*", "+fcall", "+evalsha", "+publish",
	"+xadd", "+xrevrange", "+xtrim", "+xinfo", "+exists", "+pexpire", "+time", "+get", "+set",
}

// Hints are heard in place of announcements, whether Redis can be asked for the
// right or not, of functions and of scripts. Nothing is written to the ACL log
// where it can.
func TestPublisherThatMayNotAnnounceLeavesHints(t *testing.T) {
	t.Parallel()
	for _, ask := range []bool{true, false} {
		l := newLibrary("gw", 1000, testPolicies(t), announceEverywhere)
		var change []string
		if !ask {
			change = []string{"redis.acl_check_cmd", "redis.of_a_later_version"}
		}
		s := loadFunctions(t, l, change...)
		sha := s.do("script", "load", strings.NewReplacer(change...).Replace(l.scripts[fnPublish].source)).(string)
		db := s.asUser(t, "service", restricted...)
		sub := s.db.Subscribe(t.Context(), "orders", "status:a", "gw:orders", "gw:status:a")
		defer sub.Close()
		for _, call := range [][]any{{"fcall", "gateway_publish"}, {"evalsha", sha}} {
			publish := func(c *redis.Client, key string) string {
				t.Helper()
				position, err := c.Do(t.Context(), append(append([]any{}, call...), 1, key, "x", "EVENTID", key+c.Options().Username+call[0].(string), "TYPE", "done", "TTL", 1500)...).Text()
				if err != nil {
					t.Fatal(err)
				}
				return position
			}
			at := publish(db, "gw:orders")
			wantMessage(t, sub, "orders", hintMark+"at "+at)
			if entry := s.db.XRevRangeN(t.Context(), "gw:orders", "+", "-", 1).Val(); entry[0].ID != at {
				t.Errorf("the stream ends with %v, want %s", entry, at)
			}
			at = publish(db, "gw:status:a")
			if e, err := parseHintedEvent(wantMessage(t, sub, "status:a", hintMark+"event 1 "+at+" - 1500 ")); err != nil || e.Payload != "x" || e.Type != "done" || e.TTL != 1500*time.Millisecond || e.EventID == "" {
				t.Errorf("the event is %+v, %v", e, err)
			}
			at = publish(s.db, "gw:orders")
			wantMessage(t, sub, "gw:orders", "1 "+at)
		}
		if log := s.do("acl", "log").([]any); len(log) > 0 && ask || len(log) == 0 && !ask {
			t.Errorf("with the right asked for %v, the ACL log is %v", ask, log)
		}
	}
}

// wantMessage waits for the next message and returns its text.
func wantMessage(t *testing.T, sub *redis.PubSub, name, prefix string) string {
	t.Helper()
	m, err := sub.ReceiveMessage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.Channel != name || !strings.HasPrefix(m.Payload, prefix) {
		t.Fatalf("%q came on %s, want %q on %s", m.Payload, m.Channel, prefix, name)
	}
	return m.Payload
}

// Who may publish under neither name is told before anything is stored.
func TestPublisherWithoutChannelsIsRefused(t *testing.T) {
	t.Parallel()
	s := loadFunctions(t, newLibrary("gw", 1000, testPolicies(t), announceEverywhere))
	db := s.asUser(t, "service", append(append([]any{}, restricted...), "resetchannels")...)
	for _, key := range []string{"gw:orders", "gw:status:a"} {
		err := db.Do(t.Context(), "fcall", "gateway_publish", 1, key, "x").Err()
		if !redis.IsPermissionError(err) || !strings.Contains(err.Error(), "&"+strings.TrimPrefix(key, "gw:")) || !isRefusal(err) {
			t.Errorf("error is %v, want one that names the right", err)
		}
	}
	if keys := s.do("keys", "*").([]any); len(keys) > 0 {
		t.Errorf("left behind: %v", keys)
	}
}

// Events of a publisher that may not announce come once and in the stream's
// order, mixed with plain payloads, while one replica dies.
func TestHintsAndPayloads(t *testing.T) {
	t.Parallel()
	for i := range 2 {
		t.Run(fmt.Sprintf("number %d dies", i), func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			db := s.asUser(t, "service", restricted...)
			both := []*running{startBusAt(t, "redis://"+s.addr), startBusAt(t, "redis://"+s.addr)}
			settled(t, both...)
			left := both[1-i]
			left.Subscribe("orders", false)
			left.Subscribe("status:a", true)
			left.wait("confirmed orders", "confirmed status:a")
			wanted := make(map[string]int)
			publish := func(from, to int) {
				for n := from; n < to; n++ {
					text := strconv.Itoa(n)
					if n%3 == 0 {
						text = "tick"
						db.Publish(t.Context(), "orders", text)
					} else if err := db.FCall(t.Context(), fnPublish, []string{"gw:orders"}, text, "EVENTID", text).Err(); err != nil {
						t.Error(err)
					}
					wanted[text]++
				}
			}
			publish(0, 100)
			both[i].stop()
			publish(100, 200)
			wantRecorded(t, s.db, "orders", wanted, left)
			if err := db.FCall(t.Context(), fnPublish, []string{"gw:status:a"}, "y").Err(); err != nil {
				t.Error(err)
			}
			counts := make(map[string]int)
			eventually(t, "everything was announced", func() bool {
				for {
					select {
					case n := <-left.notes:
						counts[n]++
						continue
					default:
					}
					break
				}
				for text, n := range wanted {
					if counts["announced orders "+text] < n {
						return false
					}
				}
				return counts["announced status:a y"] == 1
			})
			for n := range counts {
				if strings.Contains(n, "\xff") {
					t.Errorf("a hint was delivered: %q", n)
				}
			}
			if log := s.do("acl", "log").([]any); len(log) > 0 {
				t.Errorf("the ACL log is %v", log)
			}
		})
	}
}

// publishHinting publishes as somebody who may not announce, where there is no ACL.
func publishHinting(t *testing.T, client *redis.Client, l *library, channel string, args ...any) channels.Position {
	t.Helper()
	text := strings.Replace(l.scripts[fnPublish].source, "local may = redis.acl_check_cmd", "local may = function(_, name) return string.sub(name, 1, 3) ~= 'gw:' end", 1)
	at, err := client.Eval(t.Context(), text, []string{"gw:" + channel}, args...).Text()
	if err != nil {
		t.Fatal(err)
	}
	position, err := channels.ParsePosition(at)
	if err != nil {
		t.Fatal(err)
	}
	return position
}

// The first recorder dies after the hint and before the announcement: the
// second announces.
func TestRecorderDiesBetweenHintAndAnnouncement(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t)
	both := []*running{startBus(t, mini), startBus(t, mini)}
	settled(t, both...)
	l := both[0].library()
	var first, second *running
	eventually(t, "the roles are clear", func() bool {
		for i, b := range both {
			b.record.mu.Lock()
			isFirst := b.record.first["orders"]
			b.record.mu.Unlock()
			if isFirst {
				first, second = b, both[1-i]
			}
		}
		return first != nil
	})
	second.Subscribe("orders", false)
	second.wait("confirmed orders")
	called := make(chan struct{})
	stopped := make(chan struct{})
	left := interrupt(&scripts{t: t, mini: mini}, l.scripts[fnAnnounce].sha, 1, func(_ *scripts, c *server.Peer, _ []string) {
		close(called)
		<-stopped
		c.Close()
	})
	publishHinting(t, client, l, "orders", "x")
	<-called
	go func() { first.stop(); close(stopped) }()
	second.wait("announced orders x")
	if left.Load() > 0 {
		t.Error("the first recorder did not try")
	}
}

// What one recorder has announced the other leaves.
func TestHintIsAnnouncedOnceWhereBothLive(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t)
	a, b := startBus(t, mini), startBus(t, mini)
	settled(t, a, b)
	eventually(t, "the roles are clear", func() bool {
		firsts := 0
		for _, r := range []*running{a, b} {
			r.record.mu.Lock()
			if r.record.first["orders"] {
				firsts++
			}
			r.record.mu.Unlock()
		}
		return firsts == 1
	})
	a.Subscribe("orders", false)
	a.wait("confirmed orders")
	for i := range 20 {
		publishHinting(t, client, a.library(), "orders", i)
	}
	for i := range 20 {
		a.wait(fmt.Sprintf("announced orders %d", i))
	}
	eventually(t, "no hint waits", func() bool {
		for _, r := range []*running{a, b} {
			r.record.announcer.mu.Lock()
			n := len(r.record.announcer.at)
			r.record.announcer.mu.Unlock()
			if n > 0 {
				return false
			}
		}
		return true
	})
	publishHinting(t, client, a.library(), "orders", "last")
	if skipped := a.wait("announced orders last"); len(skipped) > 0 {
		t.Errorf("announced again: %v", skipped)
	}
}

// A hint can only have announced what is in the stream, and what is no event of
// gateway_publish is not.
func TestForgedHints(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t)
	b := startBus(t, mini)
	settled(t, b)
	b.Subscribe("orders", false)
	b.Subscribe("status:a", true)
	b.wait("confirmed orders", "confirmed status:a")
	at := publishHinting(t, client, b.library(), "orders", "x")
	b.wait("announced orders x")
	forge := func(values ...any) string {
		id := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "gw:orders", Values: append([]any{"p", at.String()}, values...)}).Val()
		return hintMark + "at " + id
	}
	for _, m := range []struct{ channel, text string }{
		{"orders", hintMark},
		{"orders", hintMark + "at "},
		{"orders", hintMark + "at 1"},
		{"orders", hintMark + "at 1-1"},
		{"orders", hintMark + "at 18446744073709551615-18446744073709551615"},
		{"orders", hintMark + "event 1 5-1 - 0 0 0\nx"},
		{"orders", forge()},
		{"orders", forge("d", "x", "t", "gateway.close")},
		{"orders", forge("d", "x", "t", "a\nb")},
		{"orders", forge("d", "x", "e", "a\nb")},
		{"orders", forge("d", "\xff")},
		{"orders", forge("d", strings.Repeat("x", 1001))},
		{"orders", forge("d", "x", "x", "soon")},
		{"status:a", hintMark + "at " + at.String()},
		{"status:a", hintMark + "event 1 5-1 4-0 0 0 0\nx"},
		{"status:a", hintMark + "event lost 9-0 0-0 5-0 4-0\n"},
		{"status:a", hintMark + "event 1 5-1 - 0 0 13\ngateway.closex"},
		{"status:a", hintMark + "event 1 5-1 - 0 0 3\na\nbx"},
		{"status:a", hintMark + "event 1 5-1 - 0 3 0\na\nbx"},
		{"status:a", hintMark + "event 1 5-1 - 0 0 0\n\xff"},
		{"status:a", hintMark + "event 1 5-1 - 0 0 0\n" + strings.Repeat("x", 1001)},
		{"unknown", hintMark + "at " + at.String()},
	} {
		client.Publish(t.Context(), m.channel, m.text)
	}
	client.Publish(t.Context(), "status:a", hintMark+"event 1 5-1 - 0 0 0\nlast")
	entries := client.XLen(t.Context(), "gw:orders").Val()
	publishHinting(t, client, b.library(), "orders", "last")
	if skipped := b.wait("announced status:a last", "announced orders last"); len(skipped) > 0 {
		t.Errorf("heard besides: %q", skipped)
	}
	if got := client.XLen(t.Context(), "gw:orders").Val(); got != entries+1 {
		t.Errorf("hints were recorded: %d entries, want %d", got, entries+1)
	}
}
