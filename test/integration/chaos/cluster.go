package chaos

import (
	"errors"
	"time"

	"realtime-gateway/test/integration/harness"
)

// cluster is a Redis Cluster of three masters with a replica each.
func cluster(w *world, dir string) (func(int) string, error) {
	c, err := harness.NewCluster(dir, harness.ClusterOptions{Replicas: true})
	w.closers = append(w.closers, c.Close)
	if err != nil {
		return nil, err
	}
	w.db = c.DB
	// owner is the master of one of the channels.
	owner := func(target int) (*harness.Node, error) { return c.Owner(w.channel(target)) }
	w.faults = append(w.faults,
		fault{name: "master killed", lane: serverLane, longest: time.Second, loses: true, rare: true, begin: func(target int) (func() error, error) {
			old, err := owner(target)
			if err != nil {
				return nil, err
			}
			_, err = c.KillMaster(old)
			return func() error { return errors.Join(old.Start(), follows(old.Redis), c.WaitOK()) }, err
		}},
		// In a failover that was asked for the old master waits for the new one:
		// nothing is lost.
		fault{name: "failover", lane: serverLane, begin: func(target int) (func() error, error) {
			old, err := owner(target)
			if err != nil {
				return nil, err
			}
			next, err := c.ReplicaOf(old)
			if err != nil {
				return nil, err
			}
			err = c.Failover(next)
			return func() error { return follows(old.Redis) }, err
		}},
		fault{name: "slot moved", lane: serverLane, begin: func(target int) (func() error, error) {
			slot, err := c.Slot(w.channel(target))
			if err != nil {
				return nil, err
			}
			from, err := owner(target)
			if err != nil {
				return nil, err
			}
			for i := range len(w.channels) {
				if to, err := owner(target + i); err == nil && to != from {
					return nil, c.MoveSlot(slot, from, to, harness.Move{})
				}
			}
			return nil, nil
		}},
	)
	w.faults = append(w.faults, serverFaults(w, func(target int) (*harness.Redis, error) {
		n, err := owner(target)
		if err != nil {
			return nil, err
		}
		return n.Redis, nil
	})...)
	return func(int) string { return c.URL() }, nil
}
