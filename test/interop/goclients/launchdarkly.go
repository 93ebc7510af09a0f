package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/launchdarkly/eventsource"
)

// launchDarkly hands out streams' errors by a channel that must be read, or by a
// handler, which decides as well whether it is over.
func launchDarkly(ctx context.Context, c command, l listener) error {
	req, err := http.NewRequest(http.MethodGet, c.URL, nil)
	if err != nil {
		return err
	}
	req.Header = c.Header
	var over error
	options := []eventsource.StreamOption{eventsource.StreamOptionHTTPClient(c.httpClient()), eventsource.StreamOptionErrorHandler(func(err error) eventsource.StreamErrorHandlerResult {
		l.failed(err)
		var refused eventsource.SubscriptionError
		if c.Bare || !errors.As(err, &refused) || !permanent(refused.Code) {
			return eventsource.StreamErrorHandlerResult{}
		}
		over = err
		return eventsource.StreamErrorHandlerResult{CloseNow: true}
	})}
	if !c.Bare {
		options = append(options,
			eventsource.StreamOptionCanRetryFirstConnection(-1), // otherwise a replica that is away is an error at the beginning
			eventsource.StreamOptionReadTimeout(time.Minute),    // three heartbeats
		)
	}
	stream, err := eventsource.SubscribeWithRequestAndOptions(req, options...)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, stream.Close)
	defer stop()
	for e := range stream.Events {
		if e.Data() != "" || c.Bare { // a block of retry alone is an event here
			l.event(e.(eventsource.EventWithLastID).LastEventID(), e.Event(), e.Data())
		}
	}
	return over
}
