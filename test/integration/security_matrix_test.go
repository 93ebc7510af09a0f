package integration_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// matrixPolicies have a channel for each kind of right.
const matrixPolicies = `channels:
  - {pattern: "public:**", historySize: 100, subscribe: public}
  - {pattern: "members:**", historySize: 100, subscribe: authenticated}
  - {pattern: "granted:**", historySize: 100, subscribe: token}
  - {pattern: "granted-live:**"}
  - {pattern: "own-public:{sub}", historySize: 100, subscribe: public}
  - {pattern: "own-members:{sub}:**", historySize: 100, subscribe: authenticated}
  - {pattern: "own-granted:{sub}", historySize: 100}
  - {pattern: "own-live:{sub}", subscribe: authenticated}
`

// matrixUser is somebody, and exactly what may be read and published. What is
// not listed is refused.
type matrixUser struct {
	name    string
	token   *harness.Token // nil: nobody
	read    []string
	publish []string
}

// Channels of the matrix: those that anybody may know, and one of each kind
// for alice and for bob.
var matrixChannels = []string{
	"public:a", "members:a", "granted:a", "granted:b", "granted-live:a", "granted-live:b",
	"own-public:alice", "own-public:bob", "own-members:alice:x", "own-members:bob:x",
	"own-granted:alice", "own-granted:bob", "own-live:alice", "own-live:bob",
}

var matrixUsers = []matrixUser{
	{"nobody", nil, []string{"public:a"}, nil},
	{"no subject, no rights", &harness.Token{}, []string{"public:a", "members:a"}, nil},
	{"no subject, own channels granted", &harness.Token{Subscribe: []string{"own-granted:{sub}"}, Publish: []string{"own-granted:{sub}"}},
		[]string{"public:a", "members:a"}, nil},
	{"alice", &harness.Token{Sub: "alice", Subscribe: []string{"granted:a", "granted-live:a", "own-granted:{sub}"}, Publish: []string{"granted:a", "own-members:{sub}:*"}},
		[]string{"public:a", "members:a", "granted:a", "granted-live:a", "own-public:alice", "own-members:alice:x", "own-granted:alice", "own-live:alice"},
		[]string{"granted:a", "own-members:alice:x"}},
	{"bob", &harness.Token{Sub: "bob", Subscribe: []string{"granted:b", "granted-live:*", "own-granted:*"}},
		[]string{"public:a", "members:a", "granted:b", "granted-live:a", "granted-live:b", "own-public:bob", "own-members:bob:x", "own-granted:bob", "own-live:bob"}, nil},
	{"bob without rights", &harness.Token{Sub: "bob"},
		[]string{"public:a", "members:a", "own-public:bob", "own-members:bob:x", "own-live:bob"}, nil},
	{"publisher", &harness.Token{Sub: "service", Publish: []string{"**"}}, []string{"public:a", "members:a"}, matrixChannels},
	// All rights are not those to what is another user's.
	{"all rights", &harness.Token{Sub: "root", Subscribe: []string{"**"}},
		[]string{"public:a", "members:a", "granted:a", "granted:b", "granted-live:a", "granted-live:b"}, nil},
	{"subject of two segments", &harness.Token{Sub: "alice:x", Subscribe: []string{"own-granted:{sub}", "own-members:{sub}"}}, []string{"public:a", "members:a"}, nil},
}

func (u matrixUser) header() http.Header {
	if u.token == nil {
		return nil
	}
	return bearer(u.token.Sign())
}

// refusal is the status of what u may not do.
func (u matrixUser) refusal() int {
	if u.token == nil {
		return http.StatusUnauthorized
	}
	return http.StatusForbidden
}

// Each user gets the events of exactly the channels that are open to them: by
// stream, replay, poll and history, live, from Redis and from memory, with
// their own cursor and with everybody else's.
func TestSecurityMatrix(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"auto", "goroutine"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{config: matrixPolicies, flags: []string{"--stream-path", path}})

			// Everybody listens to all that is open to them, on both replicas.
			type listening struct {
				user    matrixUser
				streams []*harness.Stream
			}
			var all []listening
			for _, u := range matrixUsers {
				l := listening{user: u}
				for i := range f.replicas {
					l.streams = append(l.streams, open(t, f.url(i), harness.Subscribe{Channels: u.read, Header: u.header()}))
				}
				all = append(all, l)
			}
			for _, ch := range matrixChannels {
				count(t, f, ch, 1, 3)
				publish(t, f, ch, harness.Counted(4)) // last, because it is recorded later than it is published
			}
			for _, l := range all {
				for i, s := range l.streams {
					wantHeard(t, fmt.Sprintf("%s, live, replica %d", l.user.name, i), s, l.user.read, l.user.read)
				}
			}

			// A replica that comes now has to read from Redis what the others have in
			// memory.
			_, err := f.join(f.server().URL(), []string{"--stream-path", path}, nil)
			must(t, err)
			ready(t, f)

			rooted := all[slices.IndexFunc(matrixUsers, func(u matrixUser) bool { return u.name == "all rights" })]
			rootCursor := rooted.streams[0].Now().Events[0].ID
			for _, l := range all {
				u := l.user
				t.Run(u.name, func(t *testing.T) {
					t.Parallel()
					t.Run("doors", func(t *testing.T) { wantDoors(t, f, u, rootCursor) })
					for _, owner := range all {
						t.Run("cursor of "+owner.user.name, func(t *testing.T) {
							// What the cursor knows comes again, as far as it is open to who brings
							// it. A channel that it does not know begins now.
							var again []string
							for _, ch := range u.read {
								if keeps(ch) && slices.Contains(owner.user.read, ch) {
									again = append(again, ch)
								}
							}
							for i := range f.replicas {
								s := open(t, f.url(i), harness.Subscribe{Channels: u.read, From: owner.streams[i%2].Now().Events[0].ID, Header: u.header()})
								wantHeard(t, fmt.Sprintf("replica %d", i), s, again, u.read)
								s.Close()
							}
						})
					}
				})
			}
		})
	}
}

// keeps tells whether the channel has history.
func keeps(ch string) bool { return !strings.Contains(ch, "live") }

// wantHeard waits for the counted events 1 to 4 of the channels, and checks
// that nothing of others than those open to the user came.
func wantHeard(t *testing.T, what string, s *harness.Stream, channels, open []string) harness.View {
	t.Helper()
	for _, ch := range channels {
		waitNumber(t, s, ch, 4)
		if got := s.Now().Of(ch); len(got) != 4 {
			t.Errorf("%s: %d events of %s, want 4: %s", what, len(got), ch, s.Now())
		}
	}
	wantNothingElse(t, s, open)
	return s.Now()
}

func wantNothingElse(t *testing.T, s *harness.Stream, open []string) {
	t.Helper()
	raw := s.Raw.String()
	for _, ch := range matrixChannels {
		if !slices.Contains(open, ch) && strings.Contains(raw, `"`+ch+`"`) {
			t.Errorf("the stream names %s, which is not open to it:\n%.2000s", ch, raw)
		}
	}
}

// wantDoors asks for each channel in every way, with a cursor that somebody
// else has.
func wantDoors(t *testing.T, f *fixture, u matrixUser, cursor string) {
	t.Helper()
	for n, ch := range slices.Concat(matrixChannels, []string{"unknown:a", "own-public:alice:x", "granted"}) {
		base := f.url(n)
		may := slices.Contains(u.read, ch)
		want := http.StatusOK
		if !may {
			want = u.refusal()
		}
		// A channel that does not exist is like one that is closed.
		if !slices.Contains(matrixChannels, ch) {
			want = http.StatusForbidden
		}
		query := url.Values{"channel": {ch}, "lastEventId": {forgeCursor(mark{ch, harness.Position{Millis: 1}})}}
		for _, c := range []string{cursor, query.Get("lastEventId"), ""} {
			s := connect(t, base, harness.Subscribe{Channels: []string{ch}, From: c, Header: u.header()})
			if s.Status != want {
				t.Errorf("stream of %s: status %d, want %d: %s", ch, s.Status, want, s.Problem)
			}
			s.Close()
		}
		if !may {
			// Beside one that is open, the answer is the same, and nothing of either comes.
			mixed := connect(t, base, harness.Subscribe{Channels: []string{"public:a", ch}, From: cursor, Header: u.header()})
			wantProblem(t, answer{mixed.Status, mixed.Header, mixed.Problem}, want)
			posted := connect(t, base, harness.Subscribe{Body: map[string]any{"channel": ch, "lastEventId": cursor}, Header: u.header()})
			wantProblem(t, answer{posted.Status, posted.Header, posted.Problem}, want)
		}
		for what, target := range map[string]string{"poll": events(base, url.Values{"channel": query["channel"], "lastEventId": query["lastEventId"], "mode": {"poll"}}), "history": of(base, ch)} {
			if may && what == "poll" && !keeps(ch) {
				continue // it would wait for the next event
			}
			a := knock(t, http.MethodGet, target, u.header(), "")
			if a.status != want {
				t.Errorf("%s of %s: status %d, want %d: %s", what, ch, a.status, want, a.body)
			} else if !may {
				wantProblem(t, a, want)
			} else if got := readPoll(t, a); keeps(ch) && len(got.Events) != 4 {
				t.Errorf("%s of %s has %d events, want 4: %s", what, ch, len(got.Events), a.body)
			}
			if !may && strings.Contains(a.body, `"n":`) {
				t.Errorf("%s of %s was refused with its events: %s", what, ch, a.body)
			}
		}
		if slices.Contains(u.publish, ch) {
			continue // done where nobody counts
		}
		wantPublish := u.refusal()
		if !slices.Contains(matrixChannels, ch) {
			wantPublish = http.StatusForbidden
		}
		if a := knock(t, http.MethodPost, of(base, ch), u.header(), "forged"); a.status != wantPublish {
			t.Errorf("publish on %s: status %d, want %d: %s", ch, a.status, wantPublish, a.body)
		}
	}
}

// The right to publish is that of the token alone, and no more than it says.
func TestSecurityPublishRights(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, config: matrixPolicies})
	for _, u := range matrixUsers {
		t.Run(u.name, func(t *testing.T) {
			for _, ch := range matrixChannels {
				before, err := f.db().XLen(t.Context(), "gw:"+ch).Result()
				must(t, err)
				want, more := u.refusal(), int64(0)
				if slices.Contains(u.publish, ch) {
					want = http.StatusOK
					if keeps(ch) {
						more = 1
					}
				}
				if a := knock(t, http.MethodPost, of(f.url(0), ch), u.header(), "x"); a.status != want {
					t.Errorf("%s: status %d, want %d: %s", ch, a.status, want, a.body)
				}
				if after, err := f.db().XLen(t.Context(), "gw:"+ch).Result(); err != nil || after != before+more {
					t.Errorf("%s: %d entries became %d (%v), want %d more", ch, before, after, err, more)
				}
			}
		})
	}
}
