package redisbus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a redis-server process of a test.
type redisServer struct {
	t    testing.TB
	addr string
	id   string // in a cluster
	cmd  *exec.Cmd
	db   *redis.Client
	done chan struct{}
}

var testPort = struct {
	sync.Mutex
	next int
}{next: 12000 + rand.IntN(8000)}

// freePort returns a port that is free, and whose cluster bus port is, below
// what the kernel gives to outgoing connections.
func freePort(t testing.TB) int {
	t.Helper()
	testPort.Lock()
	defer testPort.Unlock()
	free := func(port int) bool {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			l.Close()
		}
		return err == nil
	}
	for range 1000 {
		testPort.next++
		if free(testPort.next) && free(testPort.next+10000) {
			return testPort.next
		}
	}
	t.Fatal("no free port")
	return 0
}

// startServer runs redis-server until the test ends.
func startServer(t testing.TB, args ...string) *redisServer {
	t.Helper()
	port := freePort(t)
	return runServer(t, port, append([]string{"--port", strconv.Itoa(port), "--save", "", "--dir", t.TempDir()}, args...)...)
}

func runServer(t testing.TB, port int, args ...string) *redisServer {
	t.Helper()
	return runServerFor(t, port, func(*redis.Options) {}, args...)
}

// runServerFor has the test's own connections made in a way of their own.
func runServerFor(t testing.TB, port int, change func(*redis.Options), args ...string) *redisServer {
	t.Helper()
	s := &redisServer{t: t, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), done: make(chan struct{})}
	s.cmd = exec.Command("redis-server", append(args, "--bind", "127.0.0.1", "--loglevel", "warning")...)
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("redis-server is needed: %v", err)
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait()
	}()
	o := asking(&redis.Options{Addr: s.addr})
	change(o)
	s.db = redis.NewClient(o)
	t.Cleanup(func() {
		s.db.Close()
		s.kill()
	})
	eventually(t, "redis-server answers", func() bool { return s.db.Ping(context.Background()).Err() == nil })
	return s
}

func (s *redisServer) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// freeze stops the process with its sockets open, as a hung host.
func (s *redisServer) freeze() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }
func (s *redisServer) thaw()   { _ = s.cmd.Process.Signal(syscall.SIGCONT) }

func (s *redisServer) do(args ...any) any {
	s.t.Helper()
	answer, err := s.db.Do(context.Background(), args...).Result()
	if err != nil {
		s.t.Fatalf("%v at %s: %v", args, s.addr, err)
	}
	return answer
}

func clusterNode(t testing.TB, args ...string) *redisServer {
	t.Helper()
	s := startServer(t, append([]string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-replica-validity-factor", "0", "--cluster-allow-replica-migration", "no",
		"--repl-diskless-sync-delay", "0", "--cluster-require-full-coverage", "no",
	}, args...)...)
	s.id = s.do("cluster", "myid").(string)
	return s
}

// testCluster is a cluster of which the first three nodes own a third of the
// slots each.
type testCluster struct {
	t     testing.TB
	nodes []*redisServer
}

func startCluster(t testing.TB, args ...string) *testCluster {
	t.Helper()
	c := &testCluster{t: t}
	for range 3 {
		c.nodes = append(c.nodes, clusterNode(t, args...))
	}
	c.form()
	return c
}

// form makes a cluster of three nodes.
func (c *testCluster) form() {
	c.t.Helper()
	for i, n := range c.nodes {
		n.do("cluster", "addslotsrange", i*slotCount/3, (i+1)*slotCount/3-1)
		n.do("cluster", "set-config-epoch", i+1)
	}
	for _, n := range c.nodes[1:] {
		c.meet(n)
	}
	c.settled()
}

func (c *testCluster) meet(n *redisServer) {
	host, port, _ := net.SplitHostPort(c.nodes[0].addr)
	n.do("cluster", "meet", host, port)
}

// add brings a node without slots into the cluster.
func (c *testCluster) add(args ...string) *redisServer {
	c.t.Helper()
	n := clusterNode(c.t, args...)
	c.meet(n)
	c.nodes = append(c.nodes, n)
	c.settled()
	return n
}

// replicate brings in a replica and waits until it is in sync.
func (c *testCluster) replicate(of *redisServer) *redisServer {
	c.t.Helper()
	n := c.add()
	eventually(c.t, "the master is known", func() bool {
		return n.db.Do(context.Background(), "cluster", "replicate", of.id).Err() == nil
	})
	eventually(c.t, "the replica is in sync", func() bool {
		info, _ := n.db.Info(context.Background(), "replication").Result()
		return strings.Contains(info, "master_link_status:up")
	})
	eventually(c.t, "all know the replica", func() bool {
		for _, other := range c.nodes {
			if text := other.do("cluster", "nodes").(string); !strings.Contains(text, "slave "+of.id) {
				return false
			}
		}
		return true
	})
	return n
}

func (c *testCluster) settled() {
	c.t.Helper()
	eventually(c.t, "the cluster is up", func() bool {
		for _, n := range c.nodes {
			info := n.do("cluster", "info").(string)
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", len(c.nodes))) {
				return false
			}
		}
		return true
	})
}

func (c *testCluster) url() string {
	var addrs []string
	for _, n := range c.nodes[:3] {
		addrs = append(addrs, n.addr)
	}
	return "redis+cluster://" + strings.Join(addrs, ",")
}

// owner returns the node that owns a slot by its own word.
func (c *testCluster) owner(slot int) *redisServer {
	for _, n := range c.nodes {
		nodes, err := parseNodes(n.do("cluster", "nodes").(string))
		if err != nil {
			c.t.Fatal(err)
		}
		for i := range nodes {
			if nodes[i].myself && nodes[i].owns(slot) {
				return n
			}
		}
	}
	return nil
}

// beginMove opens the migration of a slot.
func (c *testCluster) beginMove(slot int, from, to *redisServer) {
	to.do("cluster", "setslot", slot, "importing", from.id)
	from.do("cluster", "setslot", slot, "migrating", to.id)
}

// moveKeys moves the slot's keys.
func (c *testCluster) moveKeys(slot int, from, to *redisServer) {
	host, port, _ := net.SplitHostPort(to.addr)
	for {
		keys := from.do("cluster", "getkeysinslot", slot, 10).([]any)
		if len(keys) == 0 {
			return
		}
		for _, key := range keys {
			from.do("migrate", host, port, key, 0, 5000)
		}
	}
}

// endMove assigns the slot, the target first, as redis-cli does.
func (c *testCluster) endMove(slot int, from, to *redisServer) {
	to.do("cluster", "setslot", slot, "node", to.id)
	from.do("cluster", "setslot", slot, "node", to.id)
}

// channelAt finds a channel with history of whose stream the slot is that
// node's.
func (c *testCluster) channelAt(n *redisServer) string {
	for i := range 100_000 {
		channel := fmt.Sprintf("project:%d:tasks", i)
		if c.owner(slotOf("gw:"+channel)) == n {
			return channel
		}
	}
	c.t.Fatal("no channel fits")
	return ""
}

func startClusterBus(t *testing.T, c *testCluster, change ...func(*Options)) *running {
	t.Helper()
	return startBusAt(t, c.url(), append([]func(*Options){func(o *Options) { o.DeafAfter = 1500 * time.Millisecond }}, change...)...)
}
