//go:build !linux

package load

import (
	"context"
	"errors"
	"fmt"
)

// Client needs epoll, so here there is none.
type Client struct{}

// NewClient says that it cannot.
func NewClient(o ClientOptions, _ *Ledger) (*Client, error) {
	if _, err := newRequest(o); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("load is made by epoll, on Linux only: %w", errors.ErrUnsupported)
}

// Connect does nothing.
func (*Client) Connect(context.Context) error { return errors.ErrUnsupported }

// Drop does nothing.
func (*Client) Drop() {}

// AwaitCaughtUp does nothing.
func (*Client) AwaitCaughtUp(context.Context) error { return errors.ErrUnsupported }

// Tally is empty.
func (*Client) Tally() Tally { return Tally{Latency: &Histogram{}, Back: &Histogram{}} }

// Close does nothing.
func (*Client) Close() {}
