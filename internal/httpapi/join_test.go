package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/webhook"
	"realtime-gateway/pkg/channels"
)

func templates(t *testing.T, list ...string) (out []channels.Template) {
	t.Helper()
	for _, text := range list {
		template, err := channels.ParseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, template)
	}
	return out
}

func TestAutoSubscribe(t *testing.T) {
	rights := []string{"user:{sub}", "team:{teams}", "project:*"}
	everything := []string{"news", "user:{sub}", "team:{teams}", "secret", "unknown", "nothing:{nothing}"}
	for _, tt := range []struct {
		name   string
		auto   []string
		user   string // "": no token
		claims map[string]any
		query  string
		status int
		want   string // the channels, or a part of the detail
	}{
		{"nobody", everything, "", nil, "", 200, "news"},
		{"a user", everything, "alice", nil, "", 200, "news user:alice"},
		{"a user with teams", everything, "alice", map[string]any{"teams": []string{"red", "blue"}}, "", 200, "news team:blue team:red user:alice"},
		{"and a channel named", everything, "alice", map[string]any{"teams": "red"}, "channel=project:1", 200, "news project:1 team:red user:alice"},
		{"one that is joined anyway", everything, "alice", nil, "channel=user:alice&channel=news", 200, "news user:alice"},
		{"one that is not allowed", everything, "alice", nil, "channel=secret", 403, `"secret"`},
		{"one that needs a token", everything, "", nil, "channel=secret", 401, `"secret"`},
		{"one that is unknown", everything, "alice", nil, "channel=unknown", 403, `"unknown"`},
		{"a value that is no segment", []string{"news", "team:{teams}"}, "alice", map[string]any{"teams": []string{"a:b", "*"}}, "", 200, "news"},
		{"a subject that is no segment", []string{"news", "user:{sub}"}, "a:b", nil, "", 200, "news"},
		{"the same twice", []string{"news", "news", "team:{teams}"}, "alice", map[string]any{"teams": []string{"red", "red"}}, "", 200, "news team:red"},
		{"nothing is left, with a token", []string{"secret", "a:{nothing}"}, "alice", nil, "", 400, "no channel is named, and none is joined by itself for this token"},
		{"nothing is left, without", []string{"user:{sub}", "secret"}, "", nil, "", 400, "for a request without a token"},
		{"nothing to join", nil, "alice", nil, "", 400, "no channel is named"},
		{"as many as may be", []string{"news", "team:{teams}"}, "alice", map[string]any{"teams": []int{1, 2, 3}}, "", 200, "news team:1 team:2 team:3"},
		{"one too many", []string{"news", "team:{teams}"}, "alice", map[string]any{"teams": []int{1, 2, 3, 4}}, "", 400, "more than 4 channels"},
		{"far too many", []string{"a:{n}:{n}:{n}:{n}"}, "alice", map[string]any{"n": make1000()}, "", 400, "more than 4 channels"},
		{"one too many with what is named", []string{"team:{teams}"}, "alice", map[string]any{"teams": []int{1, 2, 3, 4}}, "channel=news", 400, "more than 4 channels"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := serve(t, []channels.Policy{
				policy(t, "news", channels.AccessPublic, ""),
				policy(t, "user:*", channels.AccessToken, ""),
				policy(t, "team:{teams}", channels.AccessAuthenticated, ""),
				policy(t, "project:*", channels.AccessToken, ""),
				policy(t, "secret", channels.AccessToken, ""),
			}, func(o *Options) { o.AutoSubscribe = templates(t, tt.auto...) })
			var signed string
			if tt.user != "" {
				signed = token(t, tt.user, rights, tt.claims)
			}
			query := strings.ReplaceAll(strings.ReplaceAll(tt.query, "channel=", `"`), "&", `",`)
			if query != "" {
				query += `"`
			}
			for way, got := range map[string]reply{
				"GET":  answerTo(t, http.MethodGet, server.URL+"/v1/events?"+tt.query, signed, ""),
				"POST": answerTo(t, http.MethodPost, server.URL+"/v1/events", signed, `{"channel":[`+query+`]}`),
			} {
				if got.status != tt.status || got.status == 200 && strings.Join(got.channels, " ") != tt.want || got.status != 200 && !strings.Contains(got.detail, tt.want) {
					t.Errorf("%s: %+v, want %d and %s", way, got, tt.status, tt.want)
				}
			}
			if got := answerTo(t, http.MethodGet, server.URL+"/v1/events?mode=poll&"+tt.query, signed, ""); got.status != tt.status {
				t.Errorf("poll: %+v, want %d", got, tt.status)
			}
		})
	}
}

func make1000() (list []int) {
	for n := range 1000 {
		list = append(list, n)
	}
	return list
}

// Where everything is open nobody has claims.
func TestAutoSubscribeWhereEverythingIsOpen(t *testing.T) {
	server := serve(t, []channels.Policy{policy(t, "**", channels.AccessToken, "")}, func(o *Options) {
		o.Open, o.AutoSubscribe = true, templates(t, "news", "user:{sub}")
	})
	if got := answerTo(t, http.MethodGet, server.URL+"/v1/events", token(t, "alice", nil, nil), ""); !slices.Equal(got.channels, []string{"news"}) {
		t.Errorf("%+v, want news alone", got)
	}
}

// asked is an Authorizer that remembers what it was asked, and for what answers
// are watched.
type asked struct {
	asked   chan string
	watched chan func(error)
	answer  error
}

func newAsked(answer error) asked {
	return asked{make(chan string, 9), make(chan func(error), 9), answer}
}

func (a asked) Ask(_ context.Context, q webhook.Question) (time.Time, error) {
	who := q.User
	if who == "" {
		who = "nobody"
	}
	if (who == "nobody") != (q.Claims == nil) {
		who += " with the wrong claims"
	}
	a.asked <- who + " " + string(q.Action) + " " + q.Channel
	return time.Now().Add(time.Hour), a.answer
}

func (a asked) Watch(_ webhook.Question, _ time.Time, lost func(error)) (stop func()) {
	a.watched <- lost
	return func() {}
}

func TestWebhookDecides(t *testing.T) {
	policies := []channels.Policy{
		policy(t, "w", channels.AccessWebhook, channels.AccessWebhook),
		policy(t, "user:{sub}", channels.AccessWebhook, channels.AccessWebhook),
		policy(t, "news", channels.AccessPublic, channels.AccessNone),
	}
	alice := token(t, "alice", nil, nil)
	const events = "/v1/channels/w/events"
	for _, tt := range []struct {
		name, method, path, token string
		asked                     string // "": nobody was
		refused                   int    // where the webhook, if asked, refuses
	}{
		{"stream", http.MethodGet, "/v1/events?channel=w", alice, "alice subscribe w", 403},
		{"stream of nobody", http.MethodGet, "/v1/events?channel=w", "", "nobody subscribe w", 401},
		{"poll", http.MethodGet, "/v1/events?channel=w&mode=poll", alice, "alice subscribe w", 403},
		{"history", http.MethodGet, events, alice, "alice subscribe w", 403},
		{"publish", http.MethodPost, events, alice, "alice publish w", 403},
		{"publish of nobody", http.MethodPost, events, "", "nobody publish w", 401},
		{"own channel", http.MethodGet, "/v1/events?channel=user:alice", alice, "alice subscribe user:alice", 403},
		{"own channel, nobody", http.MethodGet, "/v1/events?channel=user:alice", "", "", 401},
		{"another's channel", http.MethodGet, "/v1/events?channel=user:bob", alice, "", 403},
		{"publish to another's channel", http.MethodPost, "/v1/channels/user:bob/events", alice, "", 403},
		{"nobody publishes", http.MethodPost, "/v1/channels/news/events", alice, "", 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, answer := range []error{nil, &webhook.DeniedError{Reason: "not a member"}} {
				a := newAsked(answer)
				server := serve(t, policies, func(o *Options) { o.Authorizer = a })
				got := answerTo(t, tt.method, server.URL+tt.path, tt.token, "x")
				close(a.asked)
				if question := <-a.asked; question != tt.asked {
					t.Errorf("asked %q, want %q", question, tt.asked)
				}
				want := tt.refused
				if tt.asked != "" && answer == nil {
					want = 200
				}
				if got.status != want || tt.asked != "" && answer != nil && !strings.HasSuffix(got.detail, ": not a member") {
					t.Errorf("%+v, want %d", got, want)
				}
			}
			server := serve(t, policies, nil)
			want := 403
			if tt.refused == 401 && tt.asked == "" {
				want = 401
			}
			if got := answerTo(t, tt.method, server.URL+tt.path, tt.token, "x"); got.status != want {
				t.Errorf("without a webhook: %+v, want %d", got, want)
			}
		})
	}
}

// What the webhook refuses is left out, what it cannot tell is not.
func TestAutoSubscribeByWebhook(t *testing.T) {
	for _, tt := range []struct {
		answer error
		status int // of a poll
	}{{nil, 200}, {&webhook.DeniedError{}, 200}, {webhook.ErrUnavailable, 503}, {context.DeadlineExceeded, 503}} {
		server := serve(t, []channels.Policy{policy(t, "w", channels.AccessWebhook, ""), policy(t, "news", channels.AccessPublic, "")}, func(o *Options) {
			o.Authorizer, o.AutoSubscribe = newAsked(tt.answer), templates(t, "w", "news")
		})
		want := []string{"news"}
		if tt.answer == nil {
			want = []string{"news", "w"}
		}
		if tt.status != 200 {
			want = nil // a stream that says to come back, and ends
		}
		if got := answerTo(t, http.MethodGet, server.URL+"/v1/events", "", ""); got.status != 200 || !slices.Equal(got.channels, want) {
			t.Errorf("the webhook answers %v: %+v, want %q", tt.answer, got, want)
		}
		if got := answerTo(t, http.MethodGet, server.URL+"/v1/events?mode=poll", "", ""); got.status != tt.status {
			t.Errorf("the webhook answers %v: the poll %+v, want %d", tt.answer, got, tt.status)
		}
	}
}

func TestWhoMayPublish(t *testing.T) {
	server := serve(t, []channels.Policy{
		policy(t, "by:token", channels.AccessPublic, channels.AccessToken),
		policy(t, "by:default", channels.AccessPublic, ""),
		policy(t, "by:anyone", channels.AccessPublic, channels.AccessAuthenticated),
		policy(t, "by:nobody", channels.AccessPublic, channels.AccessNone),
	}, nil)
	may, err := auth.Sign(testSecret, auth.Grant{Subject: "service", Publish: []string{"**"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	mayNot := token(t, "alice", []string{"**"}, nil)
	for _, tt := range []struct {
		channel                string
		nobody, without, right int
	}{
		{"by:token", 401, 403, 200}, {"by:default", 401, 403, 200}, {"by:anyone", 401, 200, 200}, {"by:nobody", 403, 403, 403}, {"unknown", 403, 403, 403},
	} {
		for token, want := range map[string]int{"": tt.nobody, mayNot: tt.without, may: tt.right} {
			if got := answerTo(t, http.MethodPost, server.URL+"/v1/channels/"+tt.channel+"/events", token, "x"); got.status != want {
				t.Errorf("%s with a token of %d bytes: %+v, want %d", tt.channel, len(token), got, want)
			}
		}
	}
}
