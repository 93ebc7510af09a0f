package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// masterName is how the sentinels call the master.
const masterName = "mymaster"

// Sentinel is a master with replicas, watched by three sentinels.
type Sentinel struct {
	Nodes     []*Redis // the first is the master at the beginning
	Sentinels []*Redis
	// Proxies has, where asked for, one in front of each node, whose address
	// is the one that clients are told.
	Proxies []*Proxy
	// DB talks to the present master. It never repeats a command by itself.
	DB *redis.Client
}

// SentinelOptions say how a Sentinel is to be.
type SentinelOptions struct {
	// Replicas of the master. If zero, 1.
	Replicas int
	// Proxied puts a Proxy in front of each node.
	Proxied bool
	// Args are further arguments of the master and the replicas.
	Args []string
}

// NewSentinel starts all of it, with its files in dir, and waits until a
// failover would work. What has been started is returned also when the rest
// failed.
func NewSentinel(dir string, o SentinelOptions) (*Sentinel, error) {
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	s := &Sentinel{}
	told := make([]string, o.Replicas+1) // the nodes' addresses, as clients know them
	for i := range told {
		addr, err := FreeAddr()
		if err != nil {
			return s, err
		}
		told[i] = addr
		args := []string{"--save", "", "--repl-diskless-sync-delay", "0"}
		if o.Proxied {
			p, err := NewProxy(addr)
			if err != nil {
				return s, err
			}
			s.Proxies = append(s.Proxies, p)
			told[i] = p.Addr
			host, port, _ := net.SplitHostPort(p.Addr)
			args = append(args, "--replica-announce-ip", host, "--replica-announce-port", port)
		}
		if i > 0 {
			args = append(append(args, "--replicaof"), strings.Split(told[0], ":")...)
		}
		r, err := startServer(addr, filepath.Join(dir, fmt.Sprintf("node-%d", i)), append(args, o.Args...)...)
		if err != nil {
			return s, err
		}
		s.Nodes = append(s.Nodes, r)
	}
	for _, r := range s.Nodes[1:] {
		if err := Until("the replica follows", Deadline, func() error { return infoSays(r, "master_link_status", "up") }); err != nil {
			return s, err
		}
	}
	for i := range 3 {
		addr, err := FreeAddr()
		if err != nil {
			return s, err
		}
		own := filepath.Join(dir, fmt.Sprintf("sentinel-%d", i))
		r, err := startSentinel(addr, own, told[0])
		if err != nil {
			return s, err
		}
		s.Sentinels = append(s.Sentinels, r)
	}
	s.DB = redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: masterName, SentinelAddrs: s.addrs(),
		Protocol: 2, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, ReadTimeout: Deadline,
	})
	for _, watch := range s.Sentinels {
		err := Until("the sentinels know each other and the replicas", Deadline, func() error {
			return errors.Join(
				infoSays(watch, "master0", fmt.Sprintf("name=%s,status=ok,address=%s,slaves=%d,sentinels=3", masterName, told[0], o.Replicas)),
				watch.DB.Do(context.Background(), "SENTINEL", "CKQUORUM", masterName).Err())
		})
		if err != nil {
			return s, fmt.Errorf("%w\n%s", err, watch.Log)
		}
	}
	return s, nil
}

func startSentinel(addr, dir, master string) (*Redis, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "sentinel.conf")
	host, port, _ := net.SplitHostPort(master)
	text := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 2\n"+
		"sentinel down-after-milliseconds %[1]s 1000\n"+
		"sentinel failover-timeout %[1]s 5000\n", masterName, host, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	r, err := startServer(addr, dir, conf, "--sentinel")
	if err != nil {
		return nil, err
	}
	// They tell each other more often than in production. Four such periods are
	// also how long they let a server be wrong about its role: in greater haste
	// they undo a failover that not all have heard of yet.
	return r, r.DB.Do(context.Background(), "SENTINEL", "DEBUG", "INFO-PERIOD", "200", "PUBLISH-PERIOD", "500").Err()
}

// infoSays checks a field of a server's INFO.
func infoSays(r *Redis, field, value string) error {
	text, err := r.DB.Info(context.Background()).Result()
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		if got, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			if got == value {
				return nil
			}
			return fmt.Errorf("%s: %s is %s, want %s", r.Addr, field, got, value)
		}
	}
	return fmt.Errorf("%s: no %s", r.Addr, field)
}

func (s *Sentinel) addrs() []string {
	var out []string
	for _, r := range s.Sentinels {
		out = append(out, r.Addr)
	}
	return out
}

// URL is what a gateway gets as --redis-url.
func (s *Sentinel) URL() string {
	return "redis+sentinel://" + strings.Join(s.addrs(), ",") + "/" + masterName
}

// Client is DB, as all kinds of Redis have it.
func (s *Sentinel) Client() redis.UniversalClient { return s.DB }

// Master asks the sentinels for the present master, and waits until they agree
// and the server knows of its role.
func (s *Sentinel) Master() (*Redis, error) {
	var r *Redis
	err := Until("the sentinels agree on a master", Deadline, func() (err error) {
		if r, err = s.named(); err != nil {
			return err
		}
		return infoSays(r, "role", "master")
	})
	return r, err
}

// named is who all Sentinels say is the master. It may be dead, or no master yet.
func (s *Sentinel) named() (*Redis, error) {
	var at string
	for _, watch := range s.Sentinels {
		parts, err := watch.DB.Do(context.Background(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName).StringSlice()
		if err != nil {
			return nil, err
		}
		addr := strings.Join(parts, ":")
		if at != "" && addr != at {
			return nil, fmt.Errorf("one sentinel says %s is the master, another %s", at, addr)
		}
		at = addr
	}
	for i, r := range s.Nodes {
		if r.Addr == at || len(s.Proxies) > 0 && s.Proxies[i].Addr == at {
			return r, nil
		}
	}
	return nil, fmt.Errorf("the sentinels say that %s is the master, which is none of the nodes", at)
}

// WaitMaster waits until there is a master other than old, and returns it.
func (s *Sentinel) WaitMaster(old *Redis) (master *Redis, err error) {
	err = Until("another master", Deadline, func() error {
		switch master, err = s.named(); {
		case err != nil:
			return err
		case master == old:
			return fmt.Errorf("it is still %s", old.Addr)
		}
		return infoSays(master, "role", "master")
	})
	return master, err
}

// Switches calls heard with the time of each change of the master that a
// Sentinel tells of, also one that nobody asked for, until stop is called.
func (s *Sentinel) Switches(heard func(time.Time)) (stop func() error, err error) {
	told := s.Sentinels[0].DB.Subscribe(context.Background(), "+switch-master")
	if _, err := told.Receive(context.Background()); err != nil {
		return told.Close, err
	}
	var listening sync.WaitGroup
	listening.Go(func() {
		for range told.Channel() {
			heard(time.Now())
		}
	})
	return func() error {
		defer listening.Wait()
		return told.Close()
	}, nil
}

// KillMaster ends the present master like a power cut, and returns it.
func (s *Sentinel) KillMaster() (*Redis, error) {
	m, err := s.Master()
	if err != nil {
		return nil, err
	}
	return m, m.Kill()
}

// Failover makes a replica the master while the old one lives, and waits until
// both know it.
func (s *Sentinel) Failover() (*Redis, error) {
	old, err := s.Master()
	if err != nil {
		return nil, err
	}
	var master *Redis
	for range 3 {
		// It refuses as long as it has not seen the replicas well, and may give
		// up what it has begun.
		err = Until("the sentinel begins a failover", 2*Deadline, func() error {
			return s.Sentinels[0].DB.Do(context.Background(), "SENTINEL", "FAILOVER", masterName).Err()
		})
		if err != nil {
			return nil, err
		}
		if master, err = s.WaitMaster(old); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return master, Until("the old master steps down", 2*Deadline, func() error { return infoSays(old, "role", "slave") })
}

// Replicated waits until a replica has what the master has.
func (s *Sentinel) Replicated() error {
	ctx := context.Background()
	conn := s.DB.Conn()
	defer conn.Close()
	// WAIT is about what the master had at this connection's last command.
	if err := conn.Ping(ctx).Err(); err != nil {
		return err
	}
	n, err := conn.Wait(ctx, 1, Deadline).Result()
	if err == nil && n < 1 {
		err = errors.New("no replica has followed")
	}
	return err
}

// Sever lets the replicas follow nobody, so that the next failover loses what
// the master acknowledges from now on. The sentinels mend it after their
// failover-timeout of 5 s.
func (s *Sentinel) Sever() error {
	m, err := s.Master()
	if err != nil {
		return err
	}
	nobody, err := FreeAddr()
	if err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(nobody)
	for _, r := range s.Nodes {
		if r == m || !r.Running() {
			continue
		}
		if err := r.DB.ReplicaOf(context.Background(), host, port).Err(); err != nil {
			return err
		}
	}
	return Until("the master has no replicas", Deadline, func() error { return infoSays(m, "connected_slaves", "0") })
}

// Close ends everything, whatever its state.
func (s *Sentinel) Close() error {
	var errs []error
	if s.DB != nil {
		_ = s.DB.Close()
	}
	for _, r := range append(s.Sentinels, s.Nodes...) {
		errs = append(errs, r.Close())
	}
	for _, p := range s.Proxies {
		p.Close()
	}
	return errors.Join(errs...)
}
