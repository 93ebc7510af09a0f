package chaos

import (
	"errors"
	"time"

	"realtime-gateway/test/integration/harness"
)

// switching is how long before and after the Sentinels tell of a new master the
// old one may take what nobody else gets.
const switching = 3 * time.Second

// sentinel is a master with a replica and three Sentinels. Replication waits
// for nobody, so every failover may lose what was acknowledged last.
func sentinel(w *world, dir string) (func(int) string, error) {
	s, err := harness.NewSentinel(dir, harness.SentinelOptions{})
	w.closers = append(w.closers, s.Close)
	if err != nil {
		return nil, err
	}
	w.db = s.DB
	// On a busy machine the Sentinels now and then replace a master that lives.
	stop, err := s.Switches(func(at time.Time) {
		w.happened(played{name: "the Sentinels switched", begin: at.Add(-switching), end: at.Add(switching), loses: true, forks: true})
	})
	w.closers = append(w.closers, stop)
	if err != nil {
		return nil, err
	}
	// killed leaves the master dead until another one is chosen.
	killed := func() (func() error, error) {
		old, err := s.KillMaster()
		return func() error {
			_, err := s.WaitMaster(old)
			return errors.Join(err, old.Start(), follows(old))
		}, err
	}
	w.faults = append(w.faults,
		fault{name: "master killed", lane: serverLane, longest: time.Second, loses: true, rare: true, begin: func(int) (func() error, error) {
			return killed()
		}},
		fault{name: "master killed behind its replica", lane: serverLane, longest: time.Second, loses: true, rare: true, begin: func(int) (func() error, error) {
			if err := s.Sever(); err != nil {
				return nil, err
			}
			time.Sleep(time.Second) // of events that will be lost
			return killed()
		}},
		// It goes on as a master that nobody follows, until the Sentinels see it.
		fault{name: "master stopped", lane: serverLane, longest: time.Second, loses: true, rare: true, begin: func(int) (func() error, error) {
			old, err := s.Master()
			if err != nil {
				return nil, err
			}
			return func() error {
				_, err := s.WaitMaster(old)
				return errors.Join(err, old.Thaw(), follows(old))
			}, old.Freeze()
		}},
		fault{name: "failover", lane: serverLane, loses: true, rare: true, begin: func(int) (func() error, error) {
			old, err := s.Master()
			if err != nil {
				return nil, err
			}
			if _, err := s.Failover(); err != nil {
				// The Sentinels may give one up, and then all is as it was.
				if now, unclear := s.Master(); unclear == nil && now == old {
					return nil, nil
				}
				return nil, err
			}
			return func() error { return follows(old) }, nil
		}},
	)
	w.faults = append(w.faults, serverFaults(w, func(int) (*harness.Redis, error) { return s.Master() })...)
	return func(int) string { return s.URL() }, nil
}
