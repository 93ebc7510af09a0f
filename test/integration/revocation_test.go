package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// holder is a user whose tokens are made as they are needed.
type holder struct{ name string }

// token is one that was issued so long ago.
func (h holder) token(id string, ago time.Duration, patterns ...string) http.Header {
	if patterns == nil {
		patterns = []string{"**"}
	}
	return bearer(harness.Token{Sub: h.name, ID: id, Subscribe: patterns, Publish: patterns, Issued: time.Now().Add(-ago)}.Sign())
}

// someone is a user that no other test has.
func someone() holder { return holder{strings.ReplaceAll(channel("user"), ":", "-")} }

func disconnect(t *testing.T, f *fixture, user holder, options ...any) {
	t.Helper()
	must(t, f.db().Do(t.Context(), append([]any{"FCALL", "gateway_disconnect", 1, "gw.user:" + user.name}, options...)...).Err())
}

// wantOut waits for the stream's end by revocation, and checks that it got
// nothing on the channel but the events up to last.
func wantOut(t *testing.T, s *harness.Stream, reason, ch string, last int) {
	t.Helper()
	v := waitEnd(t, s, 3*harness.Deadline)
	end := wantClose(t, v, false)
	var data struct{ Reason string }
	must(t, json.Unmarshal([]byte(end.Data), &data))
	if data.Reason != reason {
		t.Errorf("closed with the reason %q, want %q", data.Reason, reason)
	}
	wantNumbers(t, v.Of(ch), 1, last)
}

func wantStatus(t *testing.T, base string, sub harness.Subscribe, status int) {
	t.Helper()
	s := connect(t, base, sub)
	defer s.Close()
	if s.Status != status {
		t.Errorf("answered %d, want %d: %s", s.Status, status, s.Problem)
	}
	if status != http.StatusOK {
		wantProblem(t, answer{s.Status, s.Header, s.Problem}, status)
	}
}

// Force logout: all connections of the user end, on every replica, before
// anything that was published afterwards, and their tokens are refused. A token
// issued later goes on where the old one stopped.
func TestDisconnectEndsAUser(t *testing.T) {
	t.Parallel()
	onBothPaths(t, setup{}, func(t *testing.T, f *fixture) {
		alice, bob := someone(), someone()
		ch, other := channel("project")+":tasks", channel("hist")
		old := harness.Subscribe{Channels: []string{ch}, Header: alice.token("t1", time.Minute)}
		both := harness.Subscribe{Channels: []string{other, ch}, Header: alice.token("t2", time.Minute)}
		var out []*harness.Stream
		for i := range 2 {
			out = append(out, open(t, f.url(i), old), open(t, f.url(i), both))
		}
		stays := open(t, f.url(1), harness.Subscribe{Channels: []string{ch}, Header: bob.token("", time.Minute)})
		count(t, f, ch, 1, 3)
		for _, s := range append(out, stays) {
			waitNumber(t, s, ch, 3)
		}
		disconnect(t, f, alice, "REASON", "signed out")
		count(t, f, ch, 4, 9)
		for _, s := range out {
			wantOut(t, s, "signed out", ch, 3)
		}
		for i := range 2 {
			wantStatus(t, f.url(i), old, 401)
			wantStatus(t, f.url(i), harness.Subscribe{Channels: []string{other}, Header: old.Header}, 401)
			for _, path := range []string{"/v1/channels/" + ch + "/events", "/v1/events?mode=poll&channel=" + ch} {
				wantProblem(t, ask(t, "GET", f.url(i)+path, strings.TrimPrefix(old.Header.Get("Authorization"), "Bearer "), ""), 401)
			}
		}
		time.Sleep(time.Until(time.Now().Truncate(time.Millisecond).Add(2 * time.Millisecond))) // a later millisecond
		back := open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, From: out[0].Now().Cursor, Header: alice.token("t3", 0)})
		waitNumber(t, back, ch, 9)
		wantNumbers(t, back.Now().Of(ch), 4, 9)
		waitNumber(t, stays, ch, 9)
		wantNumbers(t, stays.Now().Of(ch), 1, 9)
		stillOpen(t, stays, back)
	})
}

func TestDisconnectEndsOneToken(t *testing.T) {
	t.Parallel()
	f := shared(t)
	alice, ch := someone(), channel("project")+":tasks"
	phone := harness.Subscribe{Channels: []string{ch}, Header: alice.token("phone", time.Minute)}
	laptop := harness.Subscribe{Channels: []string{ch}, Header: alice.token("laptop", time.Minute)}
	lost, kept := open(t, f.url(0), phone), open(t, f.url(0), laptop)
	count(t, f, ch, 1, 1)
	waitNumber(t, lost, ch, 1)
	disconnect(t, f, alice, "TOKEN", "phone")
	count(t, f, ch, 2, 2)
	wantOut(t, lost, "revoked", ch, 1)
	for i := range 2 {
		wantStatus(t, f.url(i), phone, 401)
		wantStatus(t, f.url(i), laptop, 200)
	}
	waitNumber(t, kept, ch, 2)
	stillOpen(t, kept)
}

// Losing one channel keeps the others.
func TestDisconnectFromOneChannel(t *testing.T) {
	t.Parallel()
	onBothPaths(t, setup{}, func(t *testing.T, f *fixture) {
		alice := someone()
		project := channel("project")
		lost, kept := project+":tasks", channel("hist")
		sub := harness.Subscribe{Channels: []string{lost, kept}, Header: alice.token("", time.Minute)}
		s := open(t, f.url(0), sub)
		only := open(t, f.url(1), harness.Subscribe{Channels: []string{lost}, Header: sub.Header})
		count(t, f, lost, 1, 2)
		waitNumber(t, s, lost, 2)
		waitNumber(t, only, lost, 2)
		disconnect(t, f, alice, "CHANNEL", project+":**", "REASON", "left the project")
		count(t, f, lost, 3, 4)
		count(t, f, kept, 1, 3)
		v := waitNumber(t, s, kept, 3)
		told := v.Named("gateway.error")
		if len(told) != 1 || !strings.Contains(told[0].Data, `"reason":"left the project"`) || !strings.Contains(told[0].Data, `"channel":"`+lost+`"`) {
			t.Errorf("told was %+v", told)
		}
		wantNumbers(t, v.Of(lost), 1, 2)
		wantNumbers(t, v.Of(kept), 1, 3)
		wantOut(t, only, "left the project", lost, 2)
		stillOpen(t, s)
		for i := range 2 {
			wantStatus(t, f.url(i), sub, 403)
			wantStatus(t, f.url(i), harness.Subscribe{Channels: []string{kept}, Header: sub.Header}, 200)
			token := strings.TrimPrefix(sub.Header.Get("Authorization"), "Bearer ")
			wantProblem(t, ask(t, "GET", f.url(i)+"/v1/channels/"+lost+"/events", token, ""), 403)
			wantProblem(t, ask(t, "POST", f.url(i)+"/v1/channels/"+lost+"/events", token, "x"), 403)
		}
		// With the right again, it goes on where it was lost.
		time.Sleep(time.Until(time.Now().Truncate(time.Millisecond).Add(2 * time.Millisecond)))
		back := open(t, f.url(1), harness.Subscribe{Channels: sub.Channels, From: v.Cursor, Header: alice.token("", 0)})
		waitNumber(t, back, lost, 4)
		wantNumbers(t, back.Now().Of(lost), 3, 4)
	})
}

// A replica that is away when a right is taken back obeys when it returns,
// before it delivers anything more.
func TestDisconnectWhileAReplicaIsAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]struct {
		leave, back func(t *testing.T, f *fixture)
	}{
		"cut off": {
			func(t *testing.T, f *fixture) { f.proxies[0].Cut() },
			func(t *testing.T, f *fixture) { must(t, f.proxies[0].Restore()) },
		},
		"in a network that swallows everything": {
			func(t *testing.T, f *fixture) { must(t, f.proxies[0].BlackHole()) },
			func(t *testing.T, f *fixture) { must(t, f.proxies[0].Restore()) },
		},
		"deaf": { // what it asks is answered, what is announced does not come
			func(t *testing.T, f *fixture) { must(t, f.proxies[0].Deafen()) },
			func(t *testing.T, f *fixture) { must(t, f.proxies[0].Restore()) },
		},
		"stopped": {
			func(t *testing.T, f *fixture) { must(t, f.replicas[0].Process().Signal(syscall.SIGSTOP)) },
			func(t *testing.T, f *fixture) { must(t, f.replicas[0].Process().Signal(syscall.SIGCONT)) },
		},
	} {
		for _, links := range []string{"1", "3"} {
			t.Run(name+", links "+links, func(t *testing.T) {
				t.Parallel()
				f := own(t, setup{proxied: true, flags: []string{"--redis-links", links, "--check-interval", "1s"}})
				alice, bob := someone(), someone()
				chs := []string{channel("project") + ":tasks", channel("project") + ":tasks", channel("project") + ":tasks"}
				lost, stays := harness.Subscribe{Channels: chs, Header: alice.token("", time.Minute)}, harness.Subscribe{Channels: chs, Header: bob.token("", time.Minute)}
				out, in := open(t, f.url(0), lost), open(t, f.url(0), stays)
				for _, ch := range chs {
					count(t, f, ch, 1, 2)
					waitNumber(t, out, ch, 2)
				}
				away.leave(t, f)
				disconnect(t, f, alice)
				for _, ch := range chs {
					count(t, f, ch, 3, 20)
				}
				away.back(t, f)
				for _, ch := range chs {
					v := waitFor(t, in, 4*harness.Deadline, "the other user's stream goes on", func(v harness.View) bool { return len(v.Of(ch)) >= 20 })
					wantNumbers(t, v.Of(ch), 1, 20)
					wantOut(t, out, "revoked", ch, 2)
				}
				must(t, f.replicas[0].WaitReady())
				for i := range 2 {
					wantStatus(t, f.url(i), lost, 401)
				}
			})
		}
	}
}

// A replica hears nothing for a while, though what it asks is answered. What
// others have it read from the streams meanwhile is not for who lost the right.
func TestDisconnectBehindADeafLink(t *testing.T) {
	t.Parallel()
	f := own(t, setup{proxied: true, flags: []string{"--redis-deaf-after", "30s", "--check-interval", "1m"}})
	alice, bob := someone(), someone()
	ch := channel("project") + ":tasks"
	lost, stays := harness.Subscribe{Channels: []string{ch}, Header: alice.token("", time.Minute)}, harness.Subscribe{Channels: []string{ch}, Header: bob.token("", time.Minute)}
	out, ahead := open(t, f.url(0), lost), open(t, f.url(1), stays)
	count(t, f, ch, 1, 2)
	waitNumber(t, out, ch, 2)
	must(t, f.proxies[0].Deafen())
	disconnect(t, f, alice)
	count(t, f, ch, 3, 20)
	// Who comes from another replica knows more than this one has heard.
	stays.From = waitNumber(t, ahead, ch, 20).Cursor
	in := open(t, f.url(0), stays)
	wantOut(t, out, "revoked", ch, 2)
	must(t, f.proxies[0].Restore())
	count(t, f, ch, 21, 21)
	waitNumber(t, in, ch, 21)
	wantNumbers(t, in.Now().Of(ch), 21, 21)
}

// What was taken back holds for a replica that starts later, and after Redis has
// lost it, as long as a replica with the user's connections knows.
func TestDisconnectIsRemembered(t *testing.T) {
	t.Parallel()
	f := own(t, setup{})
	alice, ch := someone(), channel("project")+":tasks"
	old := harness.Subscribe{Channels: []string{ch}, Header: alice.token("old", time.Minute)}
	s := open(t, f.url(0), old)
	disconnect(t, f, alice, "TOKEN", "old")
	wantOut(t, s, "revoked", ch, 0)
	must(t, f.replicas[1].Kill())
	must(t, f.replicas[1].Start())
	must(t, f.replicas[1].WaitReady())
	wantStatus(t, f.url(1), old, 401)

	stays := open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Header: alice.token("new", 0)})
	must(t, f.db().FlushAll(t.Context()).Err())
	must(t, f.redis.KillPubSub(t.Context()))
	must(t, harness.Until("the revocation is in Redis again", harness.Deadline, func() error {
		n, err := f.db().HLen(t.Context(), "gw.user:"+alice.name).Result()
		if err == nil && n != 1 {
			err = fmt.Errorf("%d revocations", n)
		}
		return err
	}))
	must(t, f.replicas[1].Kill())
	must(t, f.replicas[1].Start())
	must(t, f.replicas[1].WaitReady())
	for i := range 2 {
		wantStatus(t, f.url(i), old, 401)
	}
	stillOpen(t, stays)
}

func TestDisconnectInACluster(t *testing.T) {
	t.Parallel()
	f := own(t, setup{cluster: &harness.ClusterOptions{}})
	var chs []string
	for range 6 {
		chs = append(chs, channel("project")+":tasks")
	}
	var users []holder
	var streams []*harness.Stream
	for i := range 6 {
		users = append(users, someone())
		streams = append(streams, open(t, f.url(i), harness.Subscribe{Channels: chs, Header: users[i].token("", time.Minute)}))
	}
	for _, user := range users[:5] {
		disconnect(t, f, user)
	}
	for _, s := range streams[:5] {
		wantOut(t, s, "revoked", chs[0], 0)
	}
	for i, user := range users[:5] {
		wantStatus(t, f.url(i+1), harness.Subscribe{Channels: chs, Header: user.token("", time.Minute)}, 401)
	}
	for _, ch := range chs {
		count(t, f, ch, 1, 3)
		waitNumber(t, streams[5], ch, 3)
	}
	stillOpen(t, streams[5])
}

func TestDisconnectCommand(t *testing.T) {
	t.Parallel()
	f := shared(t)
	alice, ch := someone(), channel("project")+":tasks"
	sub := harness.Subscribe{Channels: []string{ch}, Header: alice.token("", time.Minute)}
	s := open(t, f.url(1), sub)
	if _, err := command(t, nil, "disconnect", "--redis-url", f.server().URL(), "--reason", "bye", "--ttl", "1h", alice.name); err != nil {
		t.Fatal(err)
	}
	wantOut(t, s, "bye", ch, 0)
	if ttl := f.db().TTL(t.Context(), "gw.user:"+alice.name).Val(); ttl > time.Hour || ttl < 50*time.Minute {
		t.Errorf("it holds for %v", ttl)
	}
	for _, args := range [][]string{{}, {"a", "b"}, {"--channel", "a::b", "a"}, {""}} {
		_, err := command(t, nil, append([]string{"disconnect", "--redis-url", f.server().URL()}, args...)...)
		if wrong, ok := err.(*exitError); !ok || wrong.code != 2 || strings.Count(wrong.said, "\n") != 1 {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestConnectionsAreListed(t *testing.T) {
	t.Parallel()
	onBothPaths(t, setup{}, func(t *testing.T, f *fixture) {
		alice, bob := someone(), someone()
		one, two := channel("project")+":tasks", channel("hist")
		open(t, f.url(0), harness.Subscribe{Channels: []string{one}, Header: alice.token("t1", time.Minute)})
		open(t, f.url(0), harness.Subscribe{Channels: []string{one, two}, Header: alice.token("t2", time.Minute)})
		open(t, f.url(0), harness.Subscribe{Channels: []string{two}, Header: bob.token("", time.Minute)})
		open(t, f.url(0), on(two))
		open(t, f.url(1), harness.Subscribe{Channels: []string{one}, Header: alice.token("", time.Minute)})
		for query, want := range map[string]int{
			"": 4, "user=" + alice.name: 2, "user=nobody": 0, "channel=" + one: 2, "channel=" + two: 3, "channel=none": 0,
			"user=" + alice.name + "&channel=" + url.QueryEscape(two): 1, "limit=1&user=" + alice.name: 2,
		} {
			status, body, err := f.replicas[0].Ops("/v1/connections?" + query)
			must(t, err)
			var got struct {
				Total       int
				Connections []struct {
					Connection, User, Token string
					Channels                []string
					Since, Expires          time.Time
				}
			}
			must(t, json.Unmarshal([]byte(body), &got))
			listed := want
			if strings.HasPrefix(query, "limit") {
				listed = 1
			}
			if status != 200 || got.Total != want || len(got.Connections) != listed {
				t.Errorf("%q: %d %s, want %d", query, status, body, want)
			}
			for _, c := range got.Connections {
				if c.Connection == "" || len(c.Channels) == 0 || c.Since.IsZero() || (c.User == alice.name) != (c.Token != "") {
					t.Errorf("%q: listed is %+v", query, c)
				}
			}
		}
		for _, query := range []string{"limit=x", "limit=-1", "Users=a"} {
			if status, body, err := f.replicas[0].Ops("/v1/connections?" + query); err != nil || status != 400 {
				t.Errorf("%q: %d %s %v", query, status, body, err)
			}
		}
	})
}
