package main

import (
	"net/http"
	"sync"
)

// tokens is a transport that sends each attempt with the next of its tokens, and
// with the last one ever after: who comes back needs one that is still good.
type tokens struct {
	mu   sync.Mutex
	left []string
}

func (t *tokens) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	if len(t.left) > 0 {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+t.left[0])
		if len(t.left) > 1 {
			t.left = t.left[1:]
		}
	}
	t.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

func (c command) httpClient() *http.Client { return &http.Client{Transport: &tokens{left: c.Tokens}} }
