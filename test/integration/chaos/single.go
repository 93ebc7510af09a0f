package chaos

import (
	"context"
	"time"

	"realtime-gateway/test/integration/harness"
)

// single is one Redis that keeps what it acknowledged when it is killed, and a
// proxy before it for each replica.
func single(w *world, dir string) (func(int) string, error) {
	r, err := harness.NewRedis(dir, harness.Durable...)
	if err != nil {
		return nil, err
	}
	w.db = r.DB
	w.closers = append(w.closers, r.Close)
	var links []*harness.Proxy
	for range replicas {
		p, err := harness.NewProxy(r.Addr)
		if err != nil {
			return nil, err
		}
		w.closers = append(w.closers, func() error { p.Close(); return nil })
		links = append(links, p)
	}
	w.faults = append(w.faults, linkFaults(links)...)
	w.faults = append(w.faults,
		fault{name: "Redis stopped", lane: serverLane, longest: 3 * time.Second, begin: func(int) (func() error, error) {
			return r.Thaw, r.Freeze()
		}},
		fault{name: "Redis killed", lane: serverLane, longest: time.Second, begin: func(int) (func() error, error) {
			return r.Start, r.Kill()
		}},
		fault{name: "Redis flushed", lane: serverLane, loses: true, rare: true, begin: func(int) (func() error, error) {
			return nil, r.FlushAll(context.Background())
		}},
	)
	w.faults = append(w.faults, serverFaults(w, func(int) (*harness.Redis, error) { return r, nil })...)
	return func(i int) string { return "redis://" + links[i].Addr }, nil
}
