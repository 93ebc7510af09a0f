package redisbus

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
)

// someAwayError says that some masters of a Cluster could not be reached, and
// the others were served.
type someAwayError struct{ cause error }

func (e *someAwayError) Error() string { return "some masters are away: " + e.cause.Error() }
func (e *someAwayError) Unwrap() error { return e.cause }

// eachMaster calls do for every master that owns slots, at once, and for spare
// ones. The error is a *someAwayError if nothing worse happened than that some
// were away.
func eachMaster(ctx context.Context, c *redis.ClusterClient, spare []*redis.Options, do func(context.Context, *redis.Client) error) error {
	var mu sync.Mutex
	var away, worse error
	done := 0
	err := c.ForEachMaster(ctx, func(ctx context.Context, m *redis.Client) error {
		ctx, cancel := context.WithTimeout(ctx, 2*askTimeout)
		defer cancel()
		err := do(ctx, m)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			done++
		case isAway(err):
			away = err
		case worse == nil || isUnsupported(err):
			worse = err
		}
		return nil
	})
	for _, o := range spare {
		// Nobody misses it yet; the next round tries again.
		client := redis.NewClient(o)
		_ = do(ctx, client)
		_ = client.Close()
	}
	switch {
	case err != nil:
		return err // not even the masters are known
	case worse != nil:
		return worse
	case away != nil && done > 0:
		return &someAwayError{away}
	}
	return away
}

// isAway tells whether an error is about reaching a server, or its word that it
// does not serve at the moment.
func isAway(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, redis.ErrPoolTimeout) ||
		redis.IsLoadingError(err) || redis.IsClusterDownError(err) || redis.IsReadOnlyError(err) || redis.IsMasterDownError(err)
}
