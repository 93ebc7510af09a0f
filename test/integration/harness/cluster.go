package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// slots of a Cluster.
const slots = 16384

// Cluster is a Redis Cluster.
type Cluster struct {
	// Nodes are first the masters of the beginning, then their replicas in the
	// same order, then those that were added.
	Nodes []*Node
	// DB talks to all of them. It follows redirections, and otherwise never
	// repeats a command by itself.
	DB *redis.ClusterClient

	dir string
	o   ClusterOptions
}

// Node is a server of a Cluster.
type Node struct {
	*Redis
	ID string
}

// ClusterOptions say how a Cluster is to be.
type ClusterOptions struct {
	// Masters, if zero, are 3.
	Masters int
	// Replicas gives each master one.
	Replicas bool
	// NodeTimeout, if zero, is 1.5 s.
	NodeTimeout time.Duration
	// PartialCoverage lets the slots that are served be used while others are
	// not.
	PartialCoverage bool
	// Args are further arguments of each node.
	Args []string
}

// NewCluster starts it, with its files in dir, and waits until every node says
// that all is well. What has been started is returned also when the rest
// failed.
func NewCluster(dir string, o ClusterOptions) (*Cluster, error) {
	o.Masters = cmp.Or(o.Masters, 3)
	o.NodeTimeout = cmp.Or(o.NodeTimeout, 1500*time.Millisecond)
	c := &Cluster{dir: dir, o: o}
	ctx := context.Background()
	total := o.Masters
	if o.Replicas {
		total *= 2
	}
	for i := range total {
		n, err := c.start()
		if err != nil {
			return c, err
		}
		// Different from the start, so that they need not settle it.
		if err := n.DB.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return c, err
		}
		if i < o.Masters {
			if err := n.DB.ClusterAddSlotsRange(ctx, i*slots/o.Masters, (i+1)*slots/o.Masters-1).Err(); err != nil {
				return c, err
			}
		}
		if err := c.meet(n); err != nil {
			return c, err
		}
	}
	if err := c.acquainted(); err != nil {
		return c, err
	}
	for i, n := range c.Nodes[o.Masters:] {
		if err := n.DB.ClusterReplicate(ctx, c.Nodes[i].ID).Err(); err != nil {
			return c, err
		}
	}
	for _, n := range c.Nodes[o.Masters:] {
		if err := Until("the replica follows", Deadline, func() error { return infoSays(n.Redis, "master_link_status", "up") }); err != nil {
			return c, err
		}
	}
	if err := c.WaitOK(); err != nil {
		return c, err
	}
	c.DB = redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.addrs(), Protocol: 2, MaxRedirects: 8, DisableRoutingPolicies: true, DialerRetries: 1,
		ContextTimeoutEnabled: true, ReadTimeout: Deadline,
	})
	c.DB.AddHook(notTwice{})
	return c, nil
}

// start runs one more node, which knows nobody.
func (c *Cluster) start() (*Node, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	bus, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	_, busPort, _ := net.SplitHostPort(bus)
	coverage := "yes"
	if c.o.PartialCoverage {
		coverage = "no"
	}
	r, err := startServer(addr, filepath.Join(c.dir, fmt.Sprintf("cluster-node-%d", len(c.Nodes))), append([]string{
		"--save", "", "--repl-diskless-sync-delay", "0",
		"--cluster-enabled", "yes", "--cluster-port", busPort,
		"--cluster-node-timeout", strconv.FormatInt(c.o.NodeTimeout.Milliseconds(), 10),
		"--cluster-require-full-coverage", coverage, "--cluster-replica-validity-factor", "0",
	}, c.o.Args...)...)
	if err != nil {
		return nil, err
	}
	n := &Node{Redis: r}
	c.Nodes = append(c.Nodes, n)
	n.ID, err = r.DB.ClusterMyID(context.Background()).Result()
	return n, err
}

// meet makes a node known to the first one, which tells the others.
func (c *Cluster) meet(n *Node) error {
	if n == c.Nodes[0] {
		return nil
	}
	host, port, _ := net.SplitHostPort(n.Addr)
	bus := n.args[slices.Index(n.args, "--cluster-port")+1]
	return c.Nodes[0].DB.Do(context.Background(), "CLUSTER", "MEET", host, port, bus).Err()
}

// acquainted waits until every node knows every other.
func (c *Cluster) acquainted() error {
	for _, n := range c.Nodes {
		err := Until("the nodes know each other", Deadline, func() error {
			text, err := n.DB.ClusterNodes(context.Background()).Result()
			if err != nil {
				return err
			}
			for _, other := range c.Nodes {
				if !strings.Contains(text, other.ID) {
					return fmt.Errorf("%s does not know %s", n.Addr, other.Addr)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// AddNode lets an empty master join.
func (c *Cluster) AddNode() (*Node, error) {
	n, err := c.start()
	if err != nil {
		return nil, err
	}
	if err := c.meet(n); err != nil {
		return nil, err
	}
	if err := c.acquainted(); err != nil {
		return nil, err
	}
	return n, c.WaitOK()
}

// WaitOK waits until every node that lives says that all is well.
func (c *Cluster) WaitOK() error {
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		err := Until("the cluster is well", 2*Deadline, func() error {
			text, err := n.DB.ClusterInfo(context.Background()).Result()
			if err == nil && (!strings.Contains(text, "cluster_state:ok") || !strings.Contains(text, fmt.Sprint("cluster_slots_ok:", slots))) {
				err = fmt.Errorf("%s says %s", n.Addr, text)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) addrs() []string {
	var out []string
	for _, n := range c.Nodes {
		out = append(out, n.Addr)
	}
	return out
}

// URL is what a gateway gets as --redis-url.
func (c *Cluster) URL() string { return "redis+cluster://" + strings.Join(c.addrs(), ",") }

// Client is DB, as all kinds of Redis have it.
func (c *Cluster) Client() redis.UniversalClient { return c.DB }

// Slot is where a channel's stream belongs.
func (c *Cluster) Slot(channel string) (int, error) {
	n, err := c.alive()
	if err != nil {
		return 0, err
	}
	slot, err := n.DB.ClusterKeySlot(context.Background(), "gw:"+channel).Result()
	return int(slot), err
}

// Owner is the master that has a channel's stream, as the first living node
// sees it.
func (c *Cluster) Owner(channel string) (*Node, error) {
	slot, err := c.Slot(channel)
	if err != nil {
		return nil, err
	}
	n, err := c.alive()
	if err != nil {
		return nil, err
	}
	return c.owner(n, slot)
}

func (c *Cluster) owner(as *Node, slot int) (*Node, error) {
	shards, err := as.DB.ClusterShards(context.Background()).Result()
	if err != nil {
		return nil, err
	}
	for _, shard := range shards {
		if !slices.ContainsFunc(shard.Slots, func(r redis.SlotRange) bool { return r.Start <= int64(slot) && int64(slot) <= r.End }) {
			continue
		}
		for _, n := range c.Nodes {
			if slices.ContainsFunc(shard.Nodes, func(m redis.Node) bool { return m.ID == n.ID && m.Role == "master" }) {
				return n, nil
			}
		}
	}
	return nil, fmt.Errorf("nobody has slot %d", slot)
}

func (c *Cluster) alive() (*Node, error) {
	for _, n := range c.Nodes {
		if n.Running() {
			return n, nil
		}
	}
	return nil, errors.New("no node lives")
}

// ReplicaOf waits for a living replica of a master that all nodes know of, and
// returns it.
func (c *Cluster) ReplicaOf(master *Node) (replica *Node, err error) {
	err = Until("a replica is known", Deadline, func() error {
		for _, as := range c.Nodes {
			if !as.Running() {
				continue
			}
			lines, err := as.DB.Do(context.Background(), "CLUSTER", "REPLICAS", master.ID).StringSlice()
			if err != nil {
				return err
			}
			at := slices.IndexFunc(c.Nodes, func(n *Node) bool {
				return n.Running() && slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, n.ID) })
			})
			if at < 0 {
				return fmt.Errorf("%s knows of no replica of %s", as.Addr, master.Addr)
			}
			replica = c.Nodes[at]
		}
		return nil
	})
	return replica, err
}

// WaitOwner waits until every living node says that n has the slot.
func (c *Cluster) WaitOwner(slot int, n *Node) error {
	for _, as := range c.Nodes {
		if !as.Running() {
			continue
		}
		err := Until("the slot's owner is known", 2*Deadline, func() error {
			got, err := c.owner(as, slot)
			if err == nil && got != n {
				err = fmt.Errorf("%s says that %s has slot %d, not %s", as.Addr, got.Addr, slot, n.Addr)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Failover makes a replica the master in its master's stead, which lives on as
// its replica, and waits for it.
func (c *Cluster) Failover(replica *Node) error {
	if err := replica.DB.ClusterFailover(context.Background()).Err(); err != nil {
		return err
	}
	return c.promoted(replica)
}

// KillMaster ends a master like a power cut and waits until its replica, which
// is returned, has taken over.
func (c *Cluster) KillMaster(master *Node) (*Node, error) {
	replica, err := c.ReplicaOf(master)
	if err != nil {
		return nil, err
	}
	if err := master.Kill(); err != nil {
		return nil, err
	}
	return replica, c.promoted(replica)
}

func (c *Cluster) promoted(n *Node) error {
	err := Until("the replica is promoted", 2*Deadline, func() error { return infoSays(n.Redis, "role", "master") })
	return errors.Join(err, c.WaitOK())
}

// Move says how a slot is moved. Its hooks are called between the steps.
type Move struct {
	// First is a key that is moved before all others, Last one after them.
	First, Last string

	Opened  func()           // the slot is migrating and importing
	Moved   func(key string) // one key has been moved
	Emptied func()           // all have been moved, the slot is not yet assigned
}

// MoveSlot moves a slot as redis-cli does, key by key.
func (c *Cluster) MoveSlot(slot int, from, to *Node, m Move) error {
	ctx := context.Background()
	if err := to.DB.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.ID).Err(); err != nil {
		return err
	}
	if err := from.DB.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.ID).Err(); err != nil {
		return err
	}
	if m.Opened != nil {
		m.Opened()
	}
	host, port, _ := net.SplitHostPort(to.Addr)
	for {
		keys, err := from.DB.ClusterGetKeysInSlot(ctx, slot, 1000).Result()
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		place := func(key string) int { return map[string]int{m.First: -1, m.Last: 1}[key] }
		slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b)) })
		for _, key := range keys {
			if err := from.DB.Migrate(ctx, host, port, key, 0, Deadline).Err(); err != nil {
				return fmt.Errorf("MIGRATE %s: %w", key, err)
			}
			if m.Moved != nil {
				m.Moved(key)
			}
		}
	}
	if m.Emptied != nil {
		m.Emptied()
	}
	assign := []*Node{to, from}
	for _, n := range c.Nodes {
		if n != to && n != from && n.Running() && infoSays(n.Redis, "role", "master") == nil {
			assign = append(assign, n)
		}
	}
	for _, n := range assign {
		if err := n.DB.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", to.ID).Err(); err != nil {
			return fmt.Errorf("%s: SETSLOT: %w", n.Addr, err)
		}
	}
	return c.WaitOwner(slot, to)
}

// Close ends everything, whatever its state.
func (c *Cluster) Close() error {
	var errs []error
	if c.DB != nil {
		_ = c.DB.Close()
	}
	for _, n := range c.Nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

// notTwice keeps a client from sending a command again whose answer was lost.
type notTwice struct{}

func (notTwice) DialHook(next redis.DialHook) redis.DialHook { return next }

func (notTwice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { return next(ctx, once{cmd}) }
}

func (notTwice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		marked := make([]redis.Cmder, len(cmds))
		for i, cmd := range cmds {
			marked[i] = once{cmd}
		}
		return next(ctx, marked)
	}
}

type once struct{ redis.Cmder }

// NoRetry is what go-redis asks.
func (once) NoRetry() bool { return true }
