package main

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/r3labs/sse/v2"
	"gopkg.in/cenkalti/backoff.v1"
)

// r3labs returns in order when a stream ends in order, so it needs a loop, in
// which retry is honoured as well.
func r3labs(ctx context.Context, c command, l listener) error {
	client := sse.NewClient(c.URL)
	client.Connection = c.httpClient()
	for name := range c.Header {
		client.Headers[name] = c.Header.Get(name)
	}
	if c.Bare {
		client.ReconnectNotify = func(err error, _ time.Duration) { l.failed(err) }
		return client.SubscribeRawWithContext(ctx, func(e *sse.Event) { l.event(string(e.ID), string(e.Event), string(e.Data)) })
	}

	sse.ClientMaxBufferSize(maxEvent)(client)
	client.ResponseValidator = func(_ *sse.Client, r *http.Response) error {
		if r.StatusCode == http.StatusOK {
			return nil
		}
		r.Body.Close()
		err := errors.New(r.Status)
		if permanent(r.StatusCode) {
			return backoff.Permanent(err)
		}
		return err
	}
	schedule := backoff.NewExponentialBackOff()
	schedule.MaxElapsedTime = 0 // 15 minutes after Subscribe by default, however long the stream was well
	client.ReconnectStrategy = backoff.WithContext(schedule, ctx)
	client.ReconnectNotify = func(err error, _ time.Duration) { l.failed(err) }
	for retry := 3 * time.Second; ; {
		err := client.SubscribeRawWithContext(ctx, func(e *sse.Event) {
			if ms, err := strconv.Atoi(string(e.Retry)); err == nil {
				retry = time.Duration(ms) * time.Millisecond
			}
			if len(e.Data) > 0 {
				l.event(string(e.ID), string(e.Event), string(e.Data))
			}
		})
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry):
		}
	}
}
