package redisbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// sentinels ask for the present master. All are asked at once: one that is down
// holds up nobody, and one that has not heard of a failover is outvoted by its
// config epoch.
type sentinels struct {
	o       *redis.FailoverOptions
	clients []*redis.SentinelClient
	dialer  *dialer // of commands

	moved   func(addr string) // called when commands begin to go there
	mu      sync.Mutex
	present string // the master that commands go to, or empty
	epoch   int64  // the highest config epoch heard of
}

// sentinelInterval is how often a link asks whether its master still is one.
const sentinelInterval = time.Second

func newSentinels(o *redis.FailoverOptions) *sentinels {
	s := &sentinels{o: o, dialer: newDialer(o.TLSConfig), moved: func(string) {}}
	for _, addr := range o.SentinelAddrs {
		s.clients = append(s.clients, redis.NewSentinelClient(asking(&redis.Options{
			Addr: addr, Username: o.SentinelUsername, Password: o.SentinelPassword, TLSConfig: o.TLSConfig,
		})))
	}
	return s
}

func (s *sentinels) close() {
	for _, c := range s.clients {
		c.Close()
	}
}

// addr returns the address of the master by the newest word of all Sentinels. Of
// an older word than the newest so far, only a majority is believed: it may be
// the one that was quick to answer and has not heard yet, but Sentinels can also
// be told to begin anew.
func (s *sentinels) addr(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	var best string
	var newest int64 = -1
	votes := make(map[string]int)
	var last error
	for i, c := range s.clients {
		asked.Go(func() {
			addr, epoch, err := askSentinel(ctx, c, s.o.MasterName)
			mu.Lock()
			defer mu.Unlock()
			votes[addr]++
			switch {
			case err != nil:
				last = fmt.Errorf("sentinel %s: master %q: %w", s.o.SentinelAddrs[i], s.o.MasterName, err)
			case epoch > newest:
				best, newest = addr, epoch
			}
		})
	}
	asked.Wait()
	if best == "" {
		return "", last
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if newest < s.epoch && votes[best] <= len(s.clients)/2 {
		return "", fmt.Errorf("the only Sentinels that answer name %s, which others have replaced", best)
	}
	s.epoch = newest
	return best, nil
}

// askSentinel asks for the address, which during a failover is that of the
// promoted replica as soon as there is one, and for the epoch of this knowledge.
func askSentinel(ctx context.Context, c *redis.SentinelClient, name string) (addr string, epoch int64, err error) {
	at, err := c.GetMasterAddrByName(ctx, name).Result()
	if errors.Is(err, redis.Nil) {
		return "", 0, errors.New("it watches no master of that name")
	}
	if err != nil {
		return "", 0, err
	}
	if len(at) != 2 {
		return "", 0, fmt.Errorf("address of %d parts", len(at))
	}
	if state, err := c.Master(ctx, name).Result(); err == nil {
		epoch, _ = strconv.ParseInt(state["config-epoch"], 10, 64)
	}
	return net.JoinHostPort(at[0], at[1]), epoch, nil
}

// master finds the master and makes sure, where ROLE is allowed, that it is one.
func (s *sentinels) master(ctx context.Context) (*redis.Options, error) {
	addr, err := s.addr(ctx)
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(asking(s.options(addr)))
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if role, err := client.Do(ctx, "role").Slice(); err == nil && len(role) > 0 && role[0] != "master" {
		return nil, fmt.Errorf("%s, which the Sentinels name as master, is a %v at the moment", addr, role[0])
	}
	s.follow(addr)
	return s.options(addr), nil
}

// current is the master that commands go to, or empty.
func (s *sentinels) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.present
}

// follow has commands go to this master, and to no other any more: what a link
// to it announces must not be looked up at the one before, which may be alive.
func (s *sentinels) follow(addr string) {
	s.mu.Lock()
	before := s.present
	s.present = addr
	s.mu.Unlock()
	if before == addr {
		return
	}
	if before != "" {
		s.dialer.cut(before)
	}
	s.dialer.back(addr)
	s.moved(addr)
}

// commands returns a client for the present master, which is the links' one.
func (s *sentinels) commands() *redis.Client {
	o := s.options(s.o.MasterName)
	o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
		addr := s.current()
		if addr == "" {
			master, err := s.master(ctx)
			if err != nil {
				return nil, err
			}
			addr = master.Addr
		}
		return s.dialer.connect(ctx, network, addr)
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, ioTimeout, ioTimeout
	o.DialerRetries, o.PoolSize, o.PipelinePoolSize = 1, poolSize, -1
	o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol = true, true, 2
	o.MaintNotificationsConfig = noNotifications()
	return redis.NewClient(o)
}

func (s *sentinels) options(addr string) *redis.Options {
	return &redis.Options{Addr: addr, Username: s.o.Username, Password: s.o.Password, DB: s.o.DB, TLSConfig: s.o.TLSConfig}
}

// watch returns when the Sentinels name another master than addr. A demoted
// master takes publishes and subscriptions and hears its own probes, so nothing
// else would tell.
func (s *sentinels) watch(ctx context.Context, addr string) error {
	ticker := time.NewTicker(sentinelInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		if now, err := s.addr(ctx); err == nil && now != addr {
			return fmt.Errorf("%w: the Sentinels name %s in place of %s", errMoved, now, addr)
		}
	}
}
