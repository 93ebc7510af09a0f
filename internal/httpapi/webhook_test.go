package httpapi

import (
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
