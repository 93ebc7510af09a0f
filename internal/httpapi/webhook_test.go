package httpapi

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"realtime-gateway/internal/webhook"
	"realtime-gateway/pkg/channels"
)

// What was not asked is not watched: not where another channel is refused
// anyway, nor where there are too many.
func TestNothingIsWatchedThatWasNotAllowed(t *testing.T) {
	policies := []channels.Policy{policy(t, "w:*", channels.AccessWebhook, ""), policy(t, "secret", channels.AccessToken, "")}
	for query, status := range map[string]int{"channel=w:1&channel=secret": 403, "channel=w:1&channel=w:2": 403} {
		a := newAsked(nil)
		server := serve(t, policies, func(o *Options) { o.Authorizer = someAllowed{a} })
		if got := answerTo(t, http.MethodGet, server.URL+"/v1/events?"+query, token(t, "alice", nil, nil), ""); got.status != status {
			t.Errorf("%s: %+v, want %d", query, got, status)
		}
		if n := len(a.watched); n != 0 {
			t.Errorf("%s: %d answers are watched, and nobody was let in", query, n)
		}
	}
}

// someAllowed denies channels that end in 2.
type someAllowed struct{ asked }

func (a someAllowed) Ask(ctx context.Context, q webhook.Question) (time.Time, error) {
	if strings.HasSuffix(q.Channel, "2") {
		return time.Time{}, &webhook.DeniedError{}
	}
	return a.asked.Ask(ctx, q)
}

// slowAnswers takes longer than a body may.
type slowAnswers struct {
	asked
	takes time.Duration
}

func (a slowAnswers) Ask(ctx context.Context, q webhook.Question) (time.Time, error) {
	time.Sleep(a.takes)
	return a.asked.Ask(ctx, q)
}

// The time that a body may take is the client's, not the application's.
func TestSlowApplicationCostsNoBody(t *testing.T) {
	const timeout = 100 * time.Millisecond
	server := serve(t, []channels.Policy{policy(t, "w", channels.AccessPublic, channels.AccessWebhook)}, func(o *Options) {
		o.Authorizer, o.BodyTimeout = slowAnswers{newAsked(nil), 2 * timeout}, timeout
	})
	// More than the server reads with the head.
	body := strings.Repeat("x", 60_000)
	r, err := http.NewRequest(http.MethodPost, server.URL+"/v1/channels/w/events", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("status %d, want 200", answer.StatusCode)
	}
}
