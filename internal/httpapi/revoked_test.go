package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"realtime-gateway/internal/auth"
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

// unreadable is a revocation.Store whose Redis is away.
type unreadable struct{ taken }

func (s *unreadable) Revocations(_ context.Context, users []string) []redisbus.Revocations {
	list := make([]redisbus.Revocations, len(users))
	for i := range list {
		list[i].Err = errors.New("connection refused")
	}
	return list
}

// Where Redis is away nobody is told that something is wrong with tokens, and it
// is counted apart from keys that are missing.
func TestRevocationsUnread(t *testing.T) {
	revoked := revocation.New(revocation.Options{})
	revoked.Use(&unreadable{})
	defer revoked.Close()
	var mu sync.Mutex
	results := map[auth.Result]int{}
	server := serve(t, []channels.Policy{policy(t, "**", channels.AccessToken, channels.AccessToken)}, func(o *Options) {
		o.Revoked = revoked
		o.Authenticated = func(r auth.Result) {
			mu.Lock()
			defer mu.Unlock()
			results[r]++
		}
	})
	got := answerTo(t, http.MethodGet, server.URL+"/v1/channels/a/events", token(t, "alice", []string{"**"}, nil), "")
	if got.status != http.StatusServiceUnavailable || !strings.Contains(got.detail, "Redis cannot be reached") {
		t.Errorf("answered %+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if results[auth.ResultUnread] != 1 || results[auth.ResultUnavailable] != 0 {
		t.Errorf("counted %v", results)
	}
}
