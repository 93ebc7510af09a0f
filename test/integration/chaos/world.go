package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/test/integration/harness"
)

// policies are the families of channels. No outage is as long as their
// idempotencyWindow, so an event id that is sent again never is a new event.
const policies = `channels:
  - {pattern: "whole:**", historySize: 100000, idempotencyWindow: 10m, subscribe: public}
  - {pattern: "few:**", historySize: 10, bufferSize: 5, idempotencyWindow: 10m, subscribe: public}
`

// flags make a replica leave, check and give up quickly.
var flags = []string{"--drain-time", "500ms", "--heartbeat", "2s", "--check-interval", "2s", "--linger", "2s", "--write-timeout", "5s", "--log-level", "warn"}

const replicas = 3

// world is everything that can go wrong: a Redis of some topology, and the
// replicas beside it.
type world struct {
	replicas []*harness.Gateway
	balancer *harness.Balancer
	db       redis.UniversalClient
	faults   []fault
	closers  []func() error
	channels []string // of the present round
	// burst has one of the publishers publish many big events at once.
	burst func(target, size int)

	mu        sync.Mutex
	unplanned []played // what happened beside the schedule
}

// happened notes what was not in the schedule.
func (w *world) happened(p played) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unplanned = append(w.unplanned, p)
}

// topologies make the Redis of a world with its faults, and the URL by which
// replica i finds it.
var topologies = map[string]func(w *world, dir string) (url func(i int) string, err error){
	"single":   single,
	"sentinel": sentinel,
	"cluster":  cluster,
}

// build starts a world. What has been started is to be closed also when
// the rest failed.
func build(c Config) (*world, error) {
	w := &world{}
	make, ok := topologies[c.Topology]
	if !ok {
		return w, fmt.Errorf("there is no topology %q", c.Topology)
	}
	url, err := make(w, c.Dir)
	if err != nil {
		return w, err
	}
	config := filepath.Join(c.Dir, "gateway.yaml")
	if err := os.WriteFile(config, []byte(policies), 0o600); err != nil {
		return w, err
	}
	for i := range replicas {
		path, links := "auto", "1"
		if i == replicas-1 {
			path, links = "goroutine", "3" // a client meets both
		}
		g, err := harness.NewGateway(c.Binary,
			append([]string{"--redis-url", url(i), "--config", config, "--stream-path", path, "--redis-links", links}, flags...),
			append([]string{"GATEWAY_JWT_SECRET=" + harness.Secret}, c.Env...))
		if err != nil {
			return w, err
		}
		w.replicas = append(w.replicas, g)
		if err := g.Start(); err != nil {
			return w, err
		}
	}
	w.faults = append(w.faults, replicaFaults(w.replicas)...)
	if err := w.ready(); err != nil {
		return w, err
	}
	w.balancer, err = harness.NewBalancer(c.Dir, w.replicas...)
	return w, err
}

func (w *world) ready() error {
	for i, g := range w.replicas {
		if err := g.WaitReady(); err != nil {
			return fmt.Errorf("replica %d: %w\n%s", i, err, g.Log)
		}
	}
	return nil
}

func (w *world) channel(target int) string { return w.channels[target%len(w.channels)] }

// crashes finds what no replica's log may contain.
func (w *world) crashes() error {
	var errs []error
	for i, g := range w.replicas {
		log := g.Log.String()
		for _, mark := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
			if at := strings.Index(log, mark); at >= 0 {
				errs = append(errs, fmt.Errorf("replica %d printed:\n%.6000s", i, log[at:]))
			}
		}
	}
	return errors.Join(errs...)
}

func (w *world) close() error {
	var errs []error
	if w.balancer != nil {
		errs = append(errs, w.balancer.Close())
	}
	for _, g := range w.replicas {
		errs = append(errs, g.Close())
	}
	for i := len(w.closers) - 1; i >= 0; i-- {
		errs = append(errs, w.closers[i]())
	}
	return errors.Join(errs...)
}
