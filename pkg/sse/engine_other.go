//go:build !linux

package sse

import (
	"context"
	"errors"
	"net/http"
)

// errNoTakeover means that a request's connection needs a goroutine, as all do
// on this system.
var errNoTakeover = errors.New("sse: streams have goroutines on this system")

type engine struct{}

func newEngine(*Handler, int) (*engine, error) { return nil, nil }

func (*engine) run(ctx context.Context) { <-ctx.Done() }

func (*engine) connections() int { return 0 }

func (*engine) list(context.Context, Filter, int) ([]Info, int, error)    { return nil, 0, nil }
func (*engine) stream(http.ResponseWriter, *http.Request, *Session) error { return errNoTakeover }
