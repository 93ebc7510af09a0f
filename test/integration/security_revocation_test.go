package integration_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// While a replica is deaf to Redis it does not know what was revoked. Who comes
// to it then gets nothing that was published since, and is out once it has
// noticed and connected anew.
func TestSecurityRevokedWhileAReplicaIsDeaf(t *testing.T) {
	t.Parallel()
	for _, links := range []string{"1", "3"} {
		t.Run("links "+links, func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{replicas: 1, proxied: true, flags: []string{"--redis-links", links, "--redis-deaf-after", "2s"}})
			alice := someone()
			warm, cold := channel("project")+":tasks", channel("project")+":tasks"
			token := alice.token("", time.Minute)
			s := open(t, f.url(0), harness.Subscribe{Channels: []string{warm}, Header: token})
			count(t, f, warm, 1, 2)
			count(t, f, cold, 1, 2)
			first := waitNumber(t, s, warm, 2).Events[0].ID
			s.Close()
			must(t, f.proxies[0].Deafen())
			disconnect(t, f, alice)
			count(t, f, warm, 3, 9)
			count(t, f, cold, 3, 9)
			begin := forgeCursor(mark{cold, harness.Position{Millis: 1}})
			var in []*harness.Stream
			for ch, cursor := range map[string]string{warm: first, cold: begin} {
				in = append(in, connect(t, f.url(0), harness.Subscribe{Channels: []string{ch}, From: cursor, Header: token}))
			}
			for _, s := range in {
				if s.Status == http.StatusOK {
					v := waitEnd(t, s, 4*harness.Deadline)
					for _, e := range v.Events {
						if e.N > 2 {
							t.Errorf("got what was published after the revocation: %s", e.Data)
						}
					}
				}
			}
			for _, ch := range []string{warm, cold} {
				if a := ask(t, http.MethodGet, of(f.url(0), ch), strings.TrimPrefix(token.Get("Authorization"), "Bearer "), ""); a.status != http.StatusUnauthorized {
					t.Errorf("history is answered %d %.300s", a.status, a.body)
				}
			}
		})
	}
}

// Which tokens a revocation reaches: SECURITY.md says where that ends.
func TestSecurityWhoseTokensRevocationsReach(t *testing.T) {
	t.Parallel()
	f := shared(t)
	alice, ch := someone(), channel("project")+":tasks"
	token := func(change func(*harness.Token)) harness.Subscribe {
		made := harness.Token{Sub: alice.name, Subscribe: []string{"**"}}
		change(&made)
		return harness.Subscribe{Channels: []string{ch}, Header: bearer(made.Sign())}
	}
	all := []struct {
		name   string
		sub    harness.Subscribe
		status int // after the revocation
	}{
		{"issued before", token(func(m *harness.Token) { m.Issued = time.Now().Add(-time.Minute) }), 401},
		{"says not when", token(func(m *harness.Token) {}), 401},
		{"id, issued by a clock that is ahead", token(func(m *harness.Token) { m.ID, m.Issued = "ahead", time.Now().Add(time.Hour) }), 401},
		// These it does not reach.
		{"issued by a clock that is ahead", token(func(m *harness.Token) { m.Issued = time.Now().Add(time.Hour) }), 200},
		{"no subject", token(func(m *harness.Token) { m.Sub = "" }), 200},
		{"another's", token(func(m *harness.Token) { m.Sub = someone().name }), 200},
	}
	streams := make([]*harness.Stream, len(all))
	for i, tt := range all {
		streams[i] = open(t, f.url(i), tt.sub)
	}
	disconnect(t, f, alice)
	disconnect(t, f, alice, "TOKEN", "ahead")
	// Who is known is told by Pub/Sub, which may be a moment behind the answer to
	// the publisher: a stream that slips in ends then.
	for r := range f.replicas {
		must(t, harness.Until("the last order has come", harness.Deadline, func() error {
			s := connect(t, f.url(r), all[2].sub)
			defer s.Close()
			if s.Status != http.StatusUnauthorized {
				return fmt.Errorf("status %d", s.Status)
			}
			return nil
		}))
	}
	for i, tt := range all {
		for r := range f.replicas {
			wantStatus(t, f.url(r), tt.sub, tt.status)
		}
		// Of those that are open, nobody was issued after the moment.
		if tt.status == 401 || tt.name == "issued by a clock that is ahead" {
			wantOut(t, streams[i], "revoked", ch, 0)
		} else {
			stillOpen(t, streams[i])
		}
	}
}

// What stands in a user's hash and is no revocation may have been meant as one.
// What is announced and is none ends nothing.
func TestSecurityRevocationsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1})
	alice, bob, ch := someone(), someone(), channel("project")+":tasks"
	stays := open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Header: bob.token("", time.Minute)})
	must(t, f.db().HSet(t.Context(), "gw.user:"+alice.name, "t1", "nonsense").Err())
	token := alice.token("", time.Minute)
	s := connect(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Header: token})
	if e := wantClose(t, waitEnd(t, s, harness.Deadline), true); e.Reason != "unavailable" {
		t.Errorf("closed with %s", e.Data)
	}
	compact := strings.TrimPrefix(token.Get("Authorization"), "Bearer ")
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		wantProblem(t, ask(t, method, of(f.url(0), ch), compact, "x"), http.StatusServiceUnavailable)
	}
	wantNothingPublished(t, f, ch)
	must(t, f.db().Set(t.Context(), "gw.user:"+someone().name, "no hash", 0).Err())

	for _, text := range []string{
		"", "\n\n\n\n", "x", "1 2\n" + bob.name, "1 2\n" + bob.name + "\n\n\n\n", "x y\n" + bob.name + "\n\n\n", "-1 9999999999999\n" + bob.name + "\n\n\n",
		"9999999999999 9999999999999\n\n\n\n", "9999999999999 9999999999999\n" + bob.name + "\n\na::b\n", strings.Repeat("9", 100_000), "\xff\xfe\n\x00",
		"1 9999999999999\n" + bob.name + "\n\n\n", // before the token was issued
	} {
		must(t, f.db().Publish(t.Context(), "gw.revoked", text).Err())
	}
	count(t, f, ch, 1, 3)
	waitNumber(t, stays, ch, 3)
	wantNumbers(t, stays.Now().Of(ch), 1, 3)
	stillOpen(t, stays)
	must(t, f.db().Del(t.Context(), "gw.user:"+alice.name).Err())
	open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Header: token})
}
