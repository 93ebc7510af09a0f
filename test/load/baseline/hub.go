package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/redis/go-redis/v9"
)

// queue is how many events may wait for one client.
const queue = 256

// hub knows who wants which channel.
type hub struct {
	pubsub *redis.PubSub
	mu     sync.Mutex
	topics map[string]*topic
}

type topic struct {
	ready   chan struct{} // closed when Redis has confirmed the subscription
	clients map[chan string]struct{}
}

func newHub(pubsub *redis.PubSub) *hub { return &hub{pubsub: pubsub, topics: map[string]*topic{}} }

// run passes on what Redis sends until ctx ends, and closes the subscription.
func (h *hub) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = h.pubsub.Close() })
	defer stop()
	for {
		message, err := h.pubsub.Receive(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		switch m := message.(type) {
		case *redis.Subscription:
			h.confirmed(m)
		case *redis.Message:
			h.fanOut(m)
		}
	}
}

func (h *hub) confirmed(m *redis.Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[m.Channel]
	if t == nil || m.Kind != "subscribe" {
		return
	}
	select {
	case <-t.ready:
	default:
		close(t.ready)
	}
}

func (h *hub) fanOut(m *redis.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[m.Channel]
	if t == nil {
		return
	}
	for out := range t.clients {
		select {
		case out <- m.Payload:
		default: // nobody waits for a slow client
		}
	}
}

// join subscribes to Redis with the first client of a channel.
func (h *hub) join(ctx context.Context, channel string) (out chan string, ready chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[channel]
	if t == nil {
		t = &topic{ready: make(chan struct{}), clients: map[chan string]struct{}{}}
		h.topics[channel] = t
		if err := h.pubsub.Subscribe(ctx, channel); err != nil {
			delete(h.topics, channel)
			return nil, nil, err
		}
	}
	out = make(chan string, queue)
	t.clients[out] = struct{}{}
	return out, t.ready, nil
}

// leave unsubscribes with the last one.
func (h *hub) leave(channel string, out chan string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[channel]
	if t == nil {
		return
	}
	delete(t.clients, out)
	if len(t.clients) == 0 {
		delete(h.topics, channel)
		_ = h.pubsub.Unsubscribe(context.Background(), channel) // or it will be heard by nobody
	}
}

func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	channel := r.URL.Query().Get("channel")
	out, ready, err := h.join(r.Context(), channel)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer h.leave(channel, out)
	select {
	case <-ready:
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	if control.Flush() != nil {
		return
	}
	for {
		select {
		case payload := <-out:
			if _, err := fmt.Fprintf(w, "data: %s\n\n", payload); err != nil {
				return
			}
			if control.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
