package retry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("connection refused")

func TestDoRetriesThroughADayOfOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Policy{Initial: 100 * time.Millisecond, Max: 10 * time.Second}
		start := time.Now()
		back := start.Add(24 * time.Hour)
		var attempts, notified int
		var waited time.Duration
		err := p.Do(t.Context(), func(context.Context) error {
			attempts++
			if time.Now().Before(back) {
				return errDown
			}
			return nil
		}, func(err error, next time.Duration) {
			notified++
			waited += next
			if !errors.Is(err, errDown) {
				t.Errorf("notified of %v, want %v", err, errDown)
			}
			if next <= 0 || next > p.Max {
				t.Errorf("next wait is %v, want one in (0, %v]", next, p.Max)
			}
		})
		if err != nil {
			t.Fatalf("Do = %v, want success after the outage", err)
		}
		if notified != attempts-1 {
			t.Errorf("%d notifications of %d attempts, want one for each failure", notified, attempts)
		}
		if took := time.Since(start); took != waited || took > 24*time.Hour+p.Max {
			t.Errorf("took %v, want the sum of the announced waits %v, and at most one wait past 24h", took, waited)
		}
		if attempts < 24*3600/10 {
			t.Errorf("%d attempts in 24h, want at least one every 10s", attempts)
		}
	})
}

func TestDoSucceedsAtOnce(t *testing.T) {
	ran := 0
	err := Policy{}.Do(t.Context(), func(context.Context) error { ran++; return nil }, func(error, time.Duration) {
		t.Error("notified of a success")
	})
	if err != nil || ran != 1 {
		t.Fatalf("Do = %v after %d attempts, want success after 1", err, ran)
	}
}

func TestDoPermanent(t *testing.T) {
	errBad := errors.New("wrong password")
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"bare", Permanent(errBad)},
		{"wrapped", fmt.Errorf("redis: %w", Permanent(errBad))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				results := []error{errDown, tt.err}
				attempts := 0
				err := Policy{}.Do(t.Context(), func(context.Context) error { attempts++; return results[attempts-1] }, nil)
				if attempts != 2 {
					t.Errorf("%d attempts, want none after the permanent error", attempts)
				}
				if err != tt.err || err.Error() != tt.err.Error() || !errors.Is(err, errBad) || !IsPermanent(err) {
					t.Errorf("Do = %v, want what op returned: %v", err, tt.err)
				}
			})
		})
	}
	if Permanent(nil) != nil || IsPermanent(nil) || IsPermanent(errBad) {
		t.Error("nil or an unmarked error is permanent")
	}
}

func TestDoPermanentReachesTheOuterDo(t *testing.T) {
	outer := 0
	err := Policy{}.Do(t.Context(), func(ctx context.Context) error {
		outer++
		return Policy{}.Do(ctx, func(context.Context) error { return Permanent(errDown) }, nil)
	}, nil)
	if outer != 1 || !errors.Is(err, errDown) {
		t.Fatalf("Do = %v after %d attempts, want %v after 1", err, outer, errDown)
	}
}

func TestDoEndsWithContext(t *testing.T) {
	errDrain := errors.New("draining")
	wantBoth := func(t *testing.T, err error) {
		t.Helper()
		for _, want := range []error{context.Canceled, errDrain, errDown} {
			if !errors.Is(err, want) {
				t.Errorf("Do = %v, want it to wrap %v", err, want)
			}
		}
		if got, want := err.Error(), "retry: draining, after: connection refused"; got != want {
			t.Errorf("text is %q, want %q", got, want)
		}
	}
	t.Run("during a wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			p := Policy{Initial: 100 * time.Hour, Max: 100 * time.Hour}
			result := make(chan error, 1)
			go func() { result <- p.Do(ctx, func(context.Context) error { return errDown }, nil) }()
			synctest.Wait() // Do waits, for hours
			start := time.Now()
			cancel(errDrain)
			wantBoth(t, <-result)
			if took := time.Since(start); took != 0 {
				t.Errorf("returned %v after the end of the context, want at once", took)
			}
		})
	})
	t.Run("during an attempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			attempts := 0
			err := Policy{}.Do(ctx, func(ctx context.Context) error {
				if attempts++; attempts < 3 {
					return errDown
				}
				cancel(errDrain)
				return fmt.Errorf("dial: %w", ctx.Err())
			}, nil)
			wantBoth(t, err)
		})
	})
	t.Run("deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			err := Policy{}.Do(ctx, func(context.Context) error { return errDown }, nil)
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errDown) || time.Since(start) != time.Minute {
				t.Errorf("Do = %v after %v, want both errors after 1m", err, time.Since(start))
			}
		})
	})
	t.Run("before the start", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errDrain)
		err := Policy{}.Do(ctx, func(context.Context) error { t.Error("op ran"); return nil }, nil)
		if !errors.Is(err, errDrain) || !errors.Is(err, context.Canceled) || err.Error() != "retry: draining" {
			t.Errorf("Do = %v, want the cause", err)
		}
	})
	t.Run("permanent error wins", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		err := Policy{}.Do(ctx, func(context.Context) error { cancel(errDrain); return Permanent(errDown) }, nil)
		if !errors.Is(err, errDown) || errors.Is(err, errDrain) {
			t.Errorf("Do = %v, want %v", err, errDown)
		}
	})
	t.Run("success wins", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		if err := (Policy{}).Do(ctx, func(context.Context) error { cancel(errDrain); return nil }, nil); err != nil {
			t.Errorf("Do = %v, want success", err)
		}
	})
}
