package redisbus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// watcher knows the topology of a Cluster, by asking every master it has heard
// of, each second, faster while slots move, and at once when kicked.
type watcher struct {
	seeds   []string
	options func(addr string) *redis.Options
	changed func(t, before *topology) // called from run; before is nil at first

	latest atomic.Pointer[topology] // nil until a node has answered
	failed atomic.Pointer[error]    // why there is no news; nil when there is
	kicks  chan struct{}

	nodes   map[string]*watched // by address
	answers chan watchAnswer
	asks    sync.WaitGroup
}

// watched is a node that is asked. One that does not answer is asked on, but
// not waited for.
type watched struct {
	client *redis.Client
	asking bool
	silent bool         // did not answer the last time
	view   *clusterView // its last answer, nil if it gave none the last time
}

type watchAnswer struct {
	addr string
	view *clusterView
	err  error
}

const (
	watchInterval = time.Second
	// movingInterval is how often the topology is asked, and channels of moving
	// slots are read, while slots move.
	movingInterval = 200 * time.Millisecond
	// kickGap bounds how often the topology is asked at once.
	kickGap = 50 * time.Millisecond
	// askTimeout bounds questions of which there will be another soon.
	askTimeout = time.Second
)

func newWatcher(seeds []string, options func(string) *redis.Options) *watcher {
	return &watcher{
		seeds: seeds, options: options, kicks: make(chan struct{}, 1),
		nodes: make(map[string]*watched), answers: make(chan watchAnswer),
	}
}

var errNoAnswerYet = errors.New("no node of the cluster has answered yet")

// kick has the topology asked at once.
func (w *watcher) kick() {
	select {
	case w.kicks <- struct{}{}:
	default:
	}
}

// slots is the topology for go-redis, whose own way of asking for it tries one
// node after the other, however long each takes.
func (w *watcher) slots(context.Context) ([]redis.ClusterSlot, error) {
	if t := w.latest.Load(); t != nil {
		return t.ranges(), nil
	}
	return nil, w.trouble()
}

// trouble says why there is no topology, or none that is new.
func (w *watcher) trouble() error {
	if err := w.failed.Load(); err != nil {
		return *err
	}
	if w.latest.Load() == nil {
		return errNoAnswerYet
	}
	return nil
}

func (w *watcher) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		w.asks.Wait()
		for _, n := range w.nodes {
			n.client.Close()
		}
	}()
	for {
		w.round(ctx)
		wait := watchInterval*4/5 + rand.N(watchInterval*2/5)
		if t := w.latest.Load(); t != nil && len(t.moving) > 0 {
			wait = movingInterval
		}
		select {
		case <-time.After(wait):
		case <-w.kicks:
			select {
			case <-time.After(kickGap):
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// round asks all nodes and publishes what they say.
func (w *watcher) round(ctx context.Context) {
	w.follow()
	pending := 0
	for addr, n := range w.nodes {
		if !n.asking {
			n.asking = true
			w.asks.Go(func() { w.ask(ctx, addr, n.client) })
		}
		if !n.silent {
			pending++
		}
	}
	// Those that were silent have this long when all are.
	timeout := time.NewTimer(askTimeout)
	defer timeout.Stop()
	all := pending == 0
	var last error
	for heard := 0; pending > 0 || all && heard == 0 && len(w.nodes) > 0; {
		select {
		case a := <-w.answers:
			n := w.nodes[a.addr]
			n.asking = false
			if !n.silent {
				pending--
			}
			n.silent, n.view = a.err != nil, a.view
			if a.err != nil {
				last = fmt.Errorf("%s: %w", a.addr, a.err)
			} else {
				heard++
			}
			if all && !w.asking() {
				all = false
			}
			continue
		case <-timeout.C:
		case <-ctx.Done():
			return
		}
		break
	}
	w.late()
	var views []clusterView
	for addr, n := range w.nodes {
		if n.asking && !n.silent {
			n.silent, n.view = true, nil
			last = fmt.Errorf("%s: no answer within %v", addr, askTimeout)
		}
		if n.view != nil {
			views = append(views, *n.view)
		}
	}
	if len(views) == 0 {
		if last == nil {
			last = errors.New("no node of the cluster answers")
		}
		w.failed.Store(&last)
		return
	}
	t := newTopology(views)
	w.failed.Store(nil)
	before := w.latest.Swap(t)
	if !t.same(before) {
		w.changed(t, before)
	}
}

// late takes what came of nodes that were not waited for.
func (w *watcher) late() {
	for {
		select {
		case a := <-w.answers:
			n := w.nodes[a.addr]
			n.asking, n.silent, n.view = false, a.err != nil, a.view
		default:
			return
		}
	}
}

func (w *watcher) asking() bool {
	for _, n := range w.nodes {
		if n.asking {
			return true
		}
	}
	return false
}

// follow asks from now on whom the answers name as masters, and where nobody
// answers, whom the URL names.
func (w *watcher) follow() {
	wanted := make(map[string]bool)
	for _, n := range w.nodes {
		if n.view == nil {
			continue
		}
		for _, other := range n.view.nodes {
			if other.master {
				wanted[other.addr] = true
			}
		}
	}
	if len(wanted) == 0 {
		for _, addr := range w.seeds {
			wanted[addr] = true
		}
		for addr := range w.nodes {
			wanted[addr] = true
		}
	}
	for addr, n := range w.nodes {
		if !wanted[addr] && !n.asking {
			n.client.Close()
			delete(w.nodes, addr)
		}
	}
	for addr := range wanted {
		if w.nodes[addr] == nil {
			w.nodes[addr] = &watched{client: redis.NewClient(asking(w.options(addr)))}
		}
	}
}

func (w *watcher) ask(ctx context.Context, addr string, client *redis.Client) {
	view, err := askCluster(ctx, addr, client)
	select {
	case w.answers <- watchAnswer{addr, view, err}:
	case <-ctx.Done():
	}
}

func askCluster(ctx context.Context, addr string, client *redis.Client) (*clusterView, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	pipe := client.Pipeline()
	slotsCmd, nodesCmd := pipe.Do(ctx, "cluster", "slots"), pipe.Do(ctx, "cluster", "nodes")
	_, _ = pipe.Exec(ctx)
	answer, err := slotsCmd.Result()
	if err != nil {
		return nil, err
	}
	slots, err := parseSlots(answer, addr)
	if err != nil {
		return nil, err
	}
	text, err := nodesCmd.Text()
	if err != nil && !redis.IsPermissionError(err) {
		return nil, err
	}
	nodes, err := parseNodes(text)
	if err != nil {
		return nil, err
	}
	view := completed(addr, nodes, slots)
	return &view, nil
}

// asking makes options for a client that asks a short question now and then.
// It never has more than a few connections, but after as many failed attempts as
// its pool is large go-redis would for a second not try again.
func asking(o *redis.Options) *redis.Options {
	o.Protocol, o.PoolSize, o.PipelinePoolSize = 2, 1024, -1
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = askTimeout, askTimeout, askTimeout
	o.DisableIdentity, o.ContextTimeoutEnabled = true, true
	o.MaintNotificationsConfig = noNotifications()
	return o
}
