package integration_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
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

// Who comes back with a new token and the last cursor, to any replica, goes on
// where the old token ended, whatever is published meanwhile.
func TestTokenIsRefreshed(t *testing.T) {
	t.Parallel()
	f := shared(t)
	tasks, busy := "project:refreshed:tasks", channel("many")
	token := func(expires time.Time) http.Header {
		return bearer(harness.Token{Sub: "alice", Subscribe: []string{"project:*:tasks"}, Expires: expires}.Sign())
	}
	var streams []*harness.Stream
	cursor, numbers := "", map[string]int{}
	next := func(ch string) {
		numbers[ch]++
		fcall(t, f, ch, harness.Counted(numbers[ch]))
	}
	for round := range 2 {
		expires := time.Now().Add(3 * time.Second).Truncate(time.Second)
		s := open(t, f.url(round), harness.Subscribe{Channels: []string{tasks, busy}, From: cursor, Header: token(expires)})
		streams = append(streams, s)
		for !s.Now().Ended { // also while it ends
			next(busy)
			if numbers[busy]%100 == 0 {
				next(tasks)
			}
		}
		v := s.Now()
		if closes := v.Named("gateway.close"); len(closes) != 1 || closes[0].Reason != "token_expired" {
			t.Fatalf("want one gateway.close with reason token_expired: %s", v)
		}
		cursor = v.Cursor
		next(busy) // while nobody is connected
	}
	last := open(t, f.url(0), harness.Subscribe{Channels: []string{tasks, busy}, From: cursor, Header: token(time.Time{})})
	streams = append(streams, last)
	next(busy)
	next(tasks)
	for ch, n := range numbers {
		waitNumber(t, last, ch, n)
		var all []harness.Event
		for _, s := range streams {
			noGaps(t, s)
			all = append(all, s.Now().Of(ch)...)
		}
		wantNumbers(t, all, 1, n)
	}
}

// openedChannels are those of a stream's gateway.open, sorted.
func openedChannels(t *testing.T, s *harness.Stream) string {
	t.Helper()
	var data struct{ Channels map[string]any }
	must(t, json.Unmarshal([]byte(s.Now().Named("gateway.open")[0].Data), &data))
	return strings.Join(slices.Sorted(maps.Keys(data.Channels)), " ")
}

// Claims of the token choose the channels, also those that nobody names, in
// policies, in the token's rights and in what Redis accepts.
func TestClaimsChooseChannels(t *testing.T) {
	t.Parallel()
	f := own(t, setup{config: `
autoSubscribe: [broadcast, 'user:{sub}', 'team:{teams}:chat', 'org:{org}', 'nothing:here']
channels:
  - {pattern: broadcast, historySize: 100, subscribe: public, publish: none}
  - {pattern: 'user:{sub}', historySize: 100, subscribe: authenticated, publish: authenticated}
  - {pattern: 'team:{teams}:**', historySize: 100, subscribe: public}
  - {pattern: 'org:*', historySize: 100}
`})
	user := func(name string, claims map[string]any) string {
		return harness.Token{Sub: name, Subscribe: []string{"org:{org}"}, Claims: claims}.Sign()
	}
	alice, bob := user("alice", map[string]any{"teams": []any{"red", 7, "a:b", "*"}, "org": 42}), user("bob", map[string]any{"teams": "blue", "org": 4.5})
	want := []string{"broadcast", "org:42", "team:7:chat", "team:red:chat", "user:alice"}
	for way, sub := range map[string]harness.Subscribe{
		"GET":    {Header: bearer(alice)},
		"POST":   {Header: bearer(alice), Body: map[string]any{}},
		"cookie": {Header: http.Header{"Cookie": {"gateway_token=" + alice}}},
		"named":  {Header: bearer(alice), Channels: []string{"user:alice", "broadcast"}},
	} {
		if got := openedChannels(t, open(t, f.url(1), sub)); got != strings.Join(want, " ") {
			t.Errorf("%s: joined to %q, want %q", way, got, want)
		}
	}
	if got := openedChannels(t, open(t, f.url(0), harness.Subscribe{Header: bearer(bob), Channels: []string{"team:blue:x"}})); got != "broadcast team:blue:chat team:blue:x user:bob" {
		t.Errorf("bob is joined to %q", got)
	}
	if got := openedChannels(t, open(t, f.url(0), harness.Subscribe{})); got != "broadcast" {
		t.Errorf("nobody is joined to %q", got)
	}

	// Redis takes all of them, those of others as well; alice gets her own, and
	// goes on with them at another replica.
	all := append([]string{"user:bob", "team:blue:chat", "org:43"}, want...)
	s := open(t, f.url(0), harness.Subscribe{Header: bearer(alice)})
	for _, ch := range all {
		fcall(t, f, ch, harness.Counted(1))
		publish(t, f, ch, harness.Counted(2))
	}
	for _, ch := range want {
		waitNumber(t, s, ch, 2)
	}
	s.Close()
	for _, ch := range all {
		fcall(t, f, ch, harness.Counted(3))
	}
	resumed := open(t, f.url(1), harness.Subscribe{Header: bearer(alice), From: s.Now().Cursor})
	for _, ch := range want {
		waitNumber(t, resumed, ch, 3)
		wantNumbers(t, s.Now().Of(ch), 1, 2)
		wantNumbers(t, resumed.Now().Of(ch), 3, 3)
	}
	var polls []string
	for cursor := s.Now().Cursor; len(polls) < len(want); {
		p := readPoll(t, ask(t, http.MethodGet, events(f.url(0), url.Values{"mode": {"poll"}, "lastEventId": {cursor}}), alice, ""))
		for _, e := range p.numbers(t) {
			polls = append(polls, e.Channel)
		}
		if cursor = p.Cursor; len(p.Events) == 0 {
			break
		}
	}
	if slices.Sort(polls); !slices.Equal(polls, want) {
		t.Errorf("polls have events of %q, want %q", polls, want)
	}
	for _, ch := range all[:3] {
		if strings.Contains(s.Raw.String()+resumed.Raw.String(), ch) {
			t.Errorf("the stream mentions %s", ch)
		}
		refused := connect(t, f.url(0), harness.Subscribe{Header: bearer(alice), Channels: []string{ch}})
		wantProblem(t, answer{refused.Status, refused.Header, refused.Problem}, http.StatusForbidden)
	}

	for _, test := range []struct {
		channel, token string
		status         int
	}{
		{"user:alice", alice, 200},
		{"user:alice", bob, 403},
		{"user:alice", "", 401},
		{"broadcast", harness.Token{Publish: []string{"**"}}.Sign(), 403},
		{"team:red:chat", alice, 403},
		{"team:red:chat", harness.Token{Publish: []string{"team:{teams}:**"}, Claims: map[string]any{"teams": "red"}}.Sign(), 200},
		{"team:red:chat", harness.Token{Publish: []string{"team:{teams}:**"}, Claims: map[string]any{"teams": "blue"}}.Sign(), 403},
	} {
		if a := ask(t, http.MethodPost, of(f.url(0), test.channel), test.token, "x"); a.status != test.status {
			t.Errorf("publish to %s: status %d, want %d: %s", test.channel, a.status, test.status, a.body)
		}
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
