package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
)

// failing is a Publisher whose Redis answers with an error.
type failing struct{ err error }

func (f failing) Publish(context.Context, redisbus.Message) (channels.Position, error) {
	return channels.Position{}, f.err
}

// Whose fault it is decides the status, and what is not the client's is not told
// to it.
func TestPublishFails(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want reply
	}{
		{fmt.Errorf("publish: %w: no such policy", redisbus.ErrRefused), reply{status: 400, detail: "publish: refused: no such policy"}},
		{fmt.Errorf("publish: %w: bad id", redisbus.ErrInvalid), reply{status: 400, detail: "publish: invalid message: bad id"}},
		{fmt.Errorf("publish: %w: NOPERM xadd", redisbus.ErrDenied), reply{status: 503, detail: "events cannot be published at the moment"}},
	} {
		s := serve(t, []channels.Policy{policy(t, "a", channels.AccessPublic, channels.AccessToken)}, func(o *Options) {
			o.Publisher, o.Open = failing{tt.err}, true
		})
		got := answerTo(t, http.MethodPost, s.URL+"/v1/channels/a/events", "", "x")
		if got.status != tt.want.status || got.detail != tt.want.detail {
			t.Errorf("%v is answered with %+v, want %+v", tt.err, got, tt.want)
		}
	}
}

// A client that names several channels learns which of them it has to leave out,
// and no refusal of another kind names one.
func TestForbiddenNamesItsChannel(t *testing.T) {
	s := serve(t, []channels.Policy{policy(t, "a", channels.AccessToken, ""), policy(t, "b", channels.AccessToken, "")}, nil)
	alice := token(t, "alice", []string{"a"}, nil)
	for query, want := range map[string]reply{
		"channel=a&channel=b":       {status: 403, refused: "b"},
		"channel=a&channel=unknown": {status: 403, refused: "unknown"},
		"channel=a&channel=a+b":     {status: 400},
	} {
		if got := answerTo(t, http.MethodGet, s.URL+"/v1/events?"+query, alice, ""); got.status != want.status || got.refused != want.refused {
			t.Errorf("%s is answered with %+v, want %+v", query, got, want)
		}
	}
}
