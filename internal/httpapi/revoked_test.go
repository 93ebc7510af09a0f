package httpapi

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"realtime-gateway/internal/revocation"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
)

// taken is a revocation.Store in which everything is taken from everybody once
// it is true.
type taken struct{ atomic.Bool }

func (s *taken) Revocations(_ context.Context, users []string) []redisbus.Revocations {
	list := make([]redisbus.Revocations, len(users))
	for i, user := range users {
		if s.Load() {
			list[i].List = []redisbus.Revocation{{User: user, At: time.Now(), Until: time.Now().Add(time.Hour)}}
		}
	}
	return list
}

func (s *taken) Revoke(context.Context, redisbus.Revocation) error { return nil }

// What is read after the right was taken back is not answered.
func TestHistoryIsRevokedWhileItIsRead(t *testing.T) {
	store := &taken{}
	revoked := revocation.New(revocation.Options{})
	revoked.Use(store)
	defer revoked.Close()
	server := serve(t, []channels.Policy{policy(t, "**", channels.AccessToken, channels.AccessToken)}, func(o *Options) {
		o.Revoked = revoked
		o.Publisher.(*quiet).reading = func() { store.Store(true) }
	})
	r, err := http.NewRequest("GET", server.URL+"/v1/channels/a/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token(t, "alice", []string{"**"}, nil))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if !store.Load() || answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("answered %d, read: %v", answer.StatusCode, store.Load())
	}
}
