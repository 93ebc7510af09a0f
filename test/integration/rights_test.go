package integration_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"realtime-gateway/test/integration/harness"
)

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func TestRights(t *testing.T) {
	t.Parallel()
	f := shared(t)
	alice := harness.Token{Sub: "alice", Subscribe: []string{"project:1:tasks", "user:{sub}:inbox", "members:a:**"}}.Sign()
	all := harness.Token{Sub: "root", Subscribe: []string{"**"}}.Sign()
	nobody := harness.Token{Subscribe: []string{"user:{sub}:inbox"}}.Sign()
	for _, test := range []struct {
		name, token string
		channels    []string
		status      int
	}{
		{"no token, public", "", []string{"hist:rights"}, 200},
		{"no token, token", "", []string{"project:1:tasks"}, 401},
		{"no token, authenticated", "", []string{"members:b:x"}, 401},
		{"no token, public and token", "", []string{"hist:rights", "project:1:tasks"}, 401},
		{"allowed by name", alice, []string{"project:1:tasks"}, 200},
		{"allowed and public", alice, []string{"project:1:tasks", "hist:rights"}, 200},
		{"another project", alice, []string{"project:2:tasks"}, 403},
		{"one allowed, one not", alice, []string{"project:1:tasks", "project:2:tasks"}, 403},
		{"own inbox", alice, []string{"user:alice:inbox"}, 200},
		{"foreign inbox", alice, []string{"user:bob:inbox"}, 403},
		{"inbox of the pattern's letter", alice, []string{"user:*:inbox"}, 400},
		{"a token without subject has no inbox", nobody, []string{"user:alice:inbox"}, 403},
		{"authenticated", alice, []string{"members:b:x"}, 200},
		{"authenticated, own", alice, []string{"me:alice"}, 200},
		{"authenticated, foreign", alice, []string{"me:bob"}, 403},
		{"all channels", all, []string{"project:7:tasks", "user:root:inbox"}, 200},
		{"unknown channel, all rights", all, []string{"unknown:channel"}, 403},
		{"unknown channel of a known beginning", all, []string{"project:1:notes"}, 403},
		{"wrong secret", harness.Token{Sub: "alice", Subscribe: []string{"**"}, Secret: strings.Repeat("wrong", 10)}.Sign(), []string{"project:1:tasks"}, 401},
		{"expired", harness.Token{Sub: "alice", Subscribe: []string{"**"}, Expires: time.Now().Add(-5 * time.Minute)}.Sign(), []string{"project:1:tasks"}, 401},
		{"alg none", harness.Token{Sub: "alice", Subscribe: []string{"**"}, Method: jwt.SigningMethodNone}.Sign(), []string{"project:1:tasks"}, 401},
		{"alg none, authenticated", harness.Token{Sub: "alice", Method: jwt.SigningMethodNone}.Sign(), []string{"members:b:x"}, 401},
		{"no token at all", "nonsense", []string{"project:1:tasks"}, 401},
		{"cut token", alice[:len(alice)-3], []string{"project:1:tasks"}, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i := range f.replicas {
				for way, sub := range map[string]harness.Subscribe{
					"bearer": {Header: bearer(test.token)},
					"cookie": {Header: http.Header{"Cookie": {"other=1; gateway_token=" + test.token}}},
					"query":  {Query: url.Values{"token": {test.token}}},
				} {
					if test.token == "" && way != "bearer" {
						continue
					}
					if test.token == "" {
						sub.Header = nil
					}
					sub.Channels = test.channels
					s := connect(t, f.url(i), sub)
					s.Close()
					if s.Status != test.status {
						t.Errorf("replica %d, token by %s: status %d, want %d: %s", i, way, s.Status, test.status, s.Problem)
						continue
					}
					if test.status != 200 {
						wantProblem(t, answer{s.Status, s.Header, s.Problem}, test.status)
					}
					if test.token != "" && strings.Contains(s.Problem, test.token) {
						t.Errorf("the refusal repeats the token: %s", s.Problem)
					}
				}
			}
		})
	}
}

// Neither another channel nor another's cursor brings forbidden events.
func TestForbiddenEventsDoNotArrive(t *testing.T) {
	t.Parallel()
	f := shared(t)
	mine, theirs := "project:mine:tasks", "project:theirs:tasks"
	me := bearer(harness.Token{Sub: "alice", Subscribe: []string{mine}}.Sign())
	both := open(t, f.url(0), harness.Subscribe{Channels: []string{mine, theirs}, Header: bearer(harness.Token{Sub: "bob", Subscribe: []string{"**"}}.Sign())})
	only := open(t, f.url(0), harness.Subscribe{Channels: []string{mine}, Header: me})
	count(t, f, theirs, 1, 3)
	count(t, f, mine, 1, 3)
	waitNumber(t, both, theirs, 3)
	waitNumber(t, both, mine, 3)
	waitNumber(t, only, mine, 3)
	resumed := open(t, f.url(1), harness.Subscribe{Channels: []string{mine}, From: both.Now().Events[0].ID, Header: me})
	waitNumber(t, resumed, mine, 3)
	for name, s := range map[string]*harness.Stream{"live": only, "resumed": resumed} {
		wantNumbers(t, s.Now().Of(mine), 1, 3)
		if strings.Contains(s.Raw.String(), theirs) {
			t.Errorf("%s: the stream mentions the forbidden channel", name)
		}
	}
	refused := connect(t, f.url(1), harness.Subscribe{Channels: []string{mine, theirs}, From: both.Now().Cursor, Header: me})
	wantProblem(t, answer{refused.Status, refused.Header, refused.Problem}, http.StatusForbidden)
}

// A stream ends when its token does.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	f := shared(t)
	expires := time.Now().Add(3 * time.Second).Truncate(time.Second)
	ch := "project:expiring:tasks"
	short := harness.Token{Sub: "alice", Subscribe: []string{"**"}, Expires: expires}.Sign()
	long := harness.Token{Sub: "alice", Subscribe: []string{"**"}}.Sign()
	s := open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Header: bearer(short)})
	stays := open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Header: bearer(long)})
	public := open(t, f.url(1), harness.Subscribe{Channels: []string{"hist:expiring"}, Header: bearer(short)})
	count(t, f, ch, 1, 1)
	waitNumber(t, s, ch, 1)
	for _, s := range []*harness.Stream{s, public} {
		v := waitEnd(t, s, harness.Deadline)
		closes := v.Named("gateway.close")
		if len(closes) != 1 || closes[0].Reason != "token_expired" {
			t.Fatalf("want one gateway.close with reason token_expired: %s", v)
		}
		if early := expires.Sub(closes[0].At); early > 0 {
			t.Errorf("closed %v before the token expired", early)
		}
	}
	count(t, f, ch, 2, 2)
	waitNumber(t, stays, ch, 2)
	stillOpen(t, stays)
	if n := len(s.Now().Published(ch)); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	// With the same token nobody gets far: clocks may differ a little, so it
	// may be let in, but not for long.
	late := connect(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Header: bearer(short)})
	if late.Status == http.StatusOK {
		v := waitEnd(t, late, harness.Deadline)
		if closes := v.Named("gateway.close"); len(closes) != 1 || closes[0].Reason != "token_expired" {
			t.Errorf("want gateway.close with reason token_expired: %s", v)
		}
	} else {
		wantProblem(t, answer{late.Status, late.Header, late.Problem}, http.StatusUnauthorized)
	}
}

// What `gateway token` prints opens the channels that were asked for.
func TestTokenCommand(t *testing.T) {
	t.Parallel()
	f := shared(t)
	env := []string{"GATEWAY_JWT_SECRET=" + harness.Secret}
	out, err := command(t, env, "token", "--sub", "carol", "--subscribe", "project:*:tasks", "--publish", "project:7:**")
	if err != nil {
		t.Fatalf("gateway token: %v\n%s", err, out)
	}
	token := strings.TrimSpace(out)
	if strings.Count(token, ".") != 2 || strings.ContainsAny(token, " \n") {
		t.Fatalf("want nothing but a token: %q", out)
	}
	ch := "project:7:tasks"
	s := open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Header: bearer(token)})
	refused := connect(t, f.url(0), harness.Subscribe{Channels: []string{"user:carol:inbox"}, Header: bearer(token)})
	wantProblem(t, answer{refused.Status, refused.Header, refused.Problem}, http.StatusForbidden)
	if a := ask(t, http.MethodPost, of(f.url(1), ch), token, harness.Counted(1)); a.status/100 != 2 {
		t.Fatalf("publish: status %d: %s", a.status, a.body)
	}
	waitNumber(t, s, ch, 1)
}
