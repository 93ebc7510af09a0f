package retry

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Permanent marks err as one that trying again cannot cure. Errors that wrap
// the result are permanent too. Permanent(nil) is nil.
func Permanent(err error) error { return backoff.Permanent(err) }

// IsPermanent tells whether err, or an error it wraps, was marked by Permanent.
func IsPermanent(err error) bool {
	var p *backoff.PermanentError
	return errors.As(err, &p)
}

// Do runs op until it succeeds, fails permanently or ctx ends, and waits
// between attempts as the policy says. It does not give up otherwise. The
// attempts follow each other in the calling goroutine.
//
// notify, unless nil, is called after every failure that will be tried again,
// with its error and the wait that follows.
//
// The result is nil after success; op's own error, still marked, after a
// permanent one (so an enclosing Do gives up too); and after the end of ctx,
// which also ends a wait at once, an error that wraps ctx.Err(),
// context.Cause(ctx) and op's last error, if there was one. If ctx has ended
// already, op does not run.
//
// Do is safe for concurrent use as far as op and notify are.
func (p Policy) Do(ctx context.Context, op func(ctx context.Context) error, notify func(err error, next time.Duration)) error {
	if ctx.Err() != nil {
		return ended(ctx, nil)
	}
	// The library returns either the context's error or, stripped of what was
	// wrapped around its mark, the permanent one. Both lose what a log needs,
	// so op's error is kept here.
	var last, permanent error
	attempt := func() error {
		err := op(ctx)
		switch {
		case err == nil:
		case IsPermanent(err):
			permanent = err
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			// Says only that ctx ended; the failure before it says why there
			// was anything to retry.
		default:
			last = err
		}
		return err
	}
	err := backoff.RetryNotify(attempt, backoff.WithContext(&schedule{Backoff{Policy: p}}, ctx), notify)
	switch {
	case err == nil:
		return nil
	case permanent != nil:
		return permanent
	}
	return ended(ctx, last)
}

// schedule offers a Backoff to the library, whose own exponential one has no
// full jitter, passes its cap by half, and stops for good after a quarter of
// an hour.
type schedule struct{ Backoff }

func (s *schedule) NextBackOff() time.Duration { return s.Next() }

// endedError is the end of a context in the middle of trying.
type endedError struct {
	ctx, cause, last error // last may be nil
}

func ended(ctx context.Context, last error) error {
	return &endedError{ctx: ctx.Err(), cause: context.Cause(ctx), last: last}
}

func (e *endedError) Error() string {
	if e.last == nil {
		return "retry: " + e.cause.Error()
	}
	return "retry: " + e.cause.Error() + ", after: " + e.last.Error()
}

func (e *endedError) Unwrap() []error {
	if e.last == nil {
		return []error{e.ctx, e.cause}
	}
	return []error{e.ctx, e.cause, e.last}
}
