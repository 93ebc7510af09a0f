package chaos

import (
	"context"
	"errors"
	"strings"
	"time"

	"realtime-gateway/test/integration/harness"
)

// serverFaults are commands that an operator may give to a server that takes
// writes, which of finds.
func serverFaults(w *world, of func(target int) (*harness.Redis, error)) []fault {
	do := func(target int, command ...any) error {
		r, err := of(target)
		if err != nil {
			return err
		}
		return r.DB.Do(context.Background(), command...).Err()
	}
	blow := func(name string, command ...any) fault {
		return fault{name: name, lane: serverLane, begin: func(target int) (func() error, error) { return nil, do(target, command...) }}
	}
	const limit = "client-output-buffer-limit"
	return []fault{
		blow("subscriptions killed", "CLIENT", "KILL", "TYPE", "pubsub"),
		blow("connections killed", "CLIENT", "KILL", "TYPE", "normal"),
		blow("functions flushed", "FUNCTION", "FLUSH"),
		blow("scripts flushed", "SCRIPT", "FLUSH"),
		// Redis cuts off who does not read as fast as it is announced to, and in
		// a transaction nobody can.
		{name: "subscribers' buffers overrun", lane: serverLane, longest: 300 * time.Millisecond, begin: func(target int) (func() error, error) {
			err := do(target, "CONFIG", "SET", limit, "pubsub 8192 0 0")
			w.burst(target, 60)
			return func() error { return do(target, "CONFIG", "SET", limit, "pubsub 32mb 8mb 60") }, err
		}},
	}
}

// follows waits until a server that was the master is a replica.
func follows(r *harness.Redis) error {
	return harness.Until("the old master follows the new one", 2*harness.Deadline, func() error {
		info, err := r.DB.Info(context.Background(), "replication").Result()
		if err == nil && (!strings.Contains(info, "role:slave") || !strings.Contains(info, "master_link_status:up")) {
			err = errors.New(info)
		}
		return err
	})
}
