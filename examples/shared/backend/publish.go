package backend

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
)

// OpenRedis connects to the Redis of REDIS_URL. It repeats what fails on the way for
// some seconds; since Publish always names an EVENTID, nothing is
// published twice by it.
func OpenRedis() (*redis.Client, error) {
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return nil, err
	}
	options.MaxRetries = 6
	options.MinRetryBackoff, options.MaxRetryBackoff = 100*time.Millisecond, 2*time.Second
	return redis.NewClient(options), nil
}

// Publish publishes an event on a channel, and returns its position in the
// channel's stream. The id makes it the same event however often it is
// repeated within the channel's idempotencyWindow; it must not be empty.
func Publish(ctx context.Context, db redis.UniversalClient, channel, id string, event any) (string, error) {
	payload, err := json.Marshal(event)
	if err != nil {
		return "", err
	}
	return db.FCall(ctx, "gateway_publish", []string{"gw:" + channel}, payload, "EVENTID", id).Text()
}
