package main

import (
	"context"
	"net/http"
	"time"

	"github.com/tmaxmax/go-sse"
)

// goSSE does by itself what EventSource does. Its buffer and its longest pause
// are to be set.
func goSSE(ctx context.Context, c command, l listener) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return err
	}
	req.Header = c.Header
	client := &sse.Client{HTTPClient: c.httpClient(), OnRetry: func(err error, _ time.Duration) { l.failed(err) }}
	if !c.Bare {
		client.Backoff.MaxInterval = 30 * time.Second // without end by default
	}
	conn := client.NewConnection(req)
	if !c.Bare {
		conn.Buffer(nil, maxEvent)
	}
	conn.SubscribeToAll(func(e sse.Event) { l.event(e.LastEventID, e.Type, e.Data) })
	return conn.Connect()
}
