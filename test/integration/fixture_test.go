package integration_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/test/integration/harness"
)

// policies are the channels of every fixture. Each test takes the family it
// needs and makes its own channel in it.
const policies = `channels:
  - {pattern: "hist:**", historySize: 1000, subscribe: public}
  - {pattern: "live:**", subscribe: public}
  - {pattern: "few:**", historySize: 5, subscribe: public}
  - {pattern: "many:**", historySize: 100000, subscribe: public}
  - {pattern: "brief:**", historySize: 1000, historyTTL: 2s, subscribe: public}
  - {pattern: "fresh:**", historySize: 1000, messageTTL: 2s, subscribe: public}
  - {pattern: "last:**", historySize: 1000, lastN: 3, subscribe: public}
  - {pattern: "young:**", historySize: 1000, maxAge: 2s, subscribe: public}
  - {pattern: "aged:**", historySize: 1000, maxAge: 1h, subscribe: public}
  - {pattern: "both:**", historySize: 1000, lastN: 3, maxAge: 2s, subscribe: public}
  - {pattern: "slow:oldest:**", bufferSize: 16, onFull: drop-oldest, subscribe: public}
  - {pattern: "slow:oldest-kept:**", bufferSize: 16, onFull: drop-oldest, historySize: 5000, subscribe: public}
  - {pattern: "slow:newest:**", bufferSize: 16, onFull: drop-newest, subscribe: public}
  - {pattern: "slow:disconnect:**", bufferSize: 16, onFull: disconnect, historySize: 5000, subscribe: public}
  - {pattern: "slow:catch-up:**", bufferSize: 16, onFull: catch-up, historySize: 5000, subscribe: public}
  - {pattern: "slow:default:**", bufferSize: 16, historySize: 5000, subscribe: public}
  - {pattern: x, historySize: 1000, subscribe: public}
  - {pattern: y, subscribe: public}
  - {pattern: "project:*:tasks", historySize: 1000}
  - {pattern: "user:{sub}:inbox", historySize: 1000}
  - {pattern: "me:{sub}", historySize: 1000, subscribe: authenticated}
  - {pattern: "members:**", historySize: 1000, subscribe: authenticated}
`

// fixture is one Redis, of one of three kinds, and its replicas.
type fixture struct {
	redis    *harness.Redis
	sentinel *harness.Sentinel
	cluster  *harness.Cluster
	proxies  []*harness.Proxy // of each replica, where asked for
	balancer *harness.Balancer
	replicas []*harness.Gateway
	config   string
}

// server is a Redis of any kind.
type server interface {
	URL() string
	Client() redis.UniversalClient
	Close() error
}

func (f *fixture) server() server {
	switch {
	case f.cluster != nil:
		return f.cluster
	case f.sentinel != nil:
		return f.sentinel
	case f.redis != nil:
		return f.redis
	}
	return nil
}

// db talks to the fixture's Redis.
func (f *fixture) db() redis.UniversalClient { return f.server().Client() }

// url is the public side of replica i.
func (f *fixture) url(i int) string { return f.replicas[i%len(f.replicas)].URL() }

func (f *fixture) urls() []string {
	var out []string
	for _, g := range f.replicas {
		out = append(out, g.URL())
	}
	return out
}

func (f *fixture) close() error {
	var errs []error
	for _, g := range f.replicas {
		errs = append(errs, g.Close(), crashes(g.Log.String()))
	}
	if f.balancer != nil {
		errs = append(errs, f.balancer.Close())
	}
	for _, p := range f.proxies {
		p.Close()
	}
	if s := f.server(); s != nil {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// setup is how a fixture of a test's own differs from the common one.
type setup struct {
	replicas  int      // if zero, 2
	flags     []string // of each gateway
	env       []string // of each gateway, beside the secret
	config    string   // if empty, policies
	redisArgs []string
	proxied   bool // each replica reaches the Redis through a proxy of its own
	balanced  bool // a load balancer stands in front of the replicas
	// prepare is called when the Redis runs and no replica yet. user, if not
	// empty, is what the replicas connect as: USER:PASSWORD.
	prepare func(*fixture) error
	user    string
	// At most one of these takes the place of the single Redis.
	sentinel *harness.SentinelOptions
	cluster  *harness.ClusterOptions
}

// start brings a fixture up in dir. What has been started is returned also
// when the rest failed.
func start(dir string, s setup) (*fixture, error) {
	f := &fixture{config: filepath.Join(dir, "gateway.yaml")}
	if s.replicas == 0 {
		s.replicas = 2
	}
	if s.config == "" {
		s.config = policies
	}
	if err := os.WriteFile(f.config, []byte(s.config), 0o600); err != nil {
		return f, err
	}
	var err error
	switch {
	case s.cluster != nil:
		f.cluster, err = harness.NewCluster(dir, *s.cluster)
	case s.sentinel != nil:
		f.sentinel, err = harness.NewSentinel(dir, *s.sentinel)
	default:
		f.redis, err = harness.NewRedis(filepath.Join(dir, "redis"), s.redisArgs...)
	}
	if err != nil {
		return f, err
	}
	if s.prepare != nil {
		if err := s.prepare(f); err != nil {
			return f, err
		}
	}
	for range s.replicas {
		url := as(s.user, f.server().URL())
		if s.proxied {
			p, err := harness.NewProxy(f.redis.Addr)
			if err != nil {
				return f, err
			}
			f.proxies = append(f.proxies, p)
			url = "redis://" + p.Addr
		}
		if _, err := f.join(url, s.flags, s.env); err != nil {
			return f, err
		}
	}
	for _, g := range f.replicas {
		if err := g.WaitReady(); err != nil {
			return f, fmt.Errorf("%w\n%s", err, g.Log)
		}
	}
	if s.balanced {
		f.balancer, err = harness.NewBalancer(dir, f.replicas...)
	}
	return f, err
}

// join adds a replica, which need not be ready yet. The environment is beside
// the secret, or in its place.
func (f *fixture) join(url string, flags, env []string) (*harness.Gateway, error) {
	g, err := f.add(url, flags, env)
	if err != nil {
		return nil, err
	}
	return g, g.Start()
}

// add is join without starting it.
func (f *fixture) add(url string, flags, env []string) (*harness.Gateway, error) {
	g, err := harness.NewGateway(binary,
		append([]string{"--redis-url", url, "--config", f.config}, flags...),
		append([]string{"GATEWAY_JWT_SECRET=" + harness.Secret}, env...))
	if err != nil {
		return nil, err
	}
	f.replicas = append(f.replicas, g)
	return g, nil
}

// own gives a test processes that it may stop, kill and restart.
func own(t *testing.T, s setup) *fixture {
	t.Helper()
	f, err := start(t.TempDir(), s)
	t.Cleanup(func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
		f.showLogs(t, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// commonFixture is one for all tests that leave its processes alone.
type commonFixture struct {
	setup setup
	once  sync.Once
	f     *fixture
	err   error
}

var (
	commonDir string
	// Clients that are stopped on purpose are not to be cut for that.
	common        = commonFixture{setup: setup{env: []string{"GATEWAY_WRITE_TIMEOUT=2m"}}}
	commonCluster = commonFixture{setup: setup{cluster: &harness.ClusterOptions{}}}
)

func shared(t *testing.T) *fixture {
	t.Helper()
	return common.use(t)
}

func (c *commonFixture) use(t *testing.T) *fixture {
	t.Helper()
	c.once.Do(func() {
		var dir string
		if dir, c.err = os.MkdirTemp(commonDir, "common"); c.err == nil {
			c.f, c.err = start(dir, c.setup)
		}
	})
	if c.err != nil {
		t.Fatal(c.err)
	}
	marks := make([]int, len(c.f.replicas))
	for i, g := range c.f.replicas {
		marks[i] = g.Log.Len()
	}
	t.Cleanup(func() { c.f.showLogs(t, marks) })
	return c.f
}

func closeCommon() error {
	var errs []error
	for _, c := range []*commonFixture{&common, &commonCluster} {
		if c.f != nil {
			errs = append(errs, c.f.close())
		}
	}
	return errors.Join(errs...)
}

// showLogs prints, for a failed test, what the replicas said during it.
func (f *fixture) showLogs(t *testing.T, marks []int) {
	t.Helper()
	if !t.Failed() {
		return
	}
	for i, g := range f.replicas {
		mark := 0
		if marks != nil {
			mark = marks[i]
		}
		lines := strings.Split(strings.TrimSpace(g.Log.Since(mark)), "\n")
		if len(lines) > 60 {
			lines = append([]string{"…"}, lines[len(lines)-60:]...)
		}
		t.Logf("replica %d (%s) said:\n%s", i, g.Addr, strings.Join(lines, "\n"))
	}
}

var channelNumber atomic.Int64

// channel makes a channel's name of a family that no other test uses.
func channel(family string) string {
	return fmt.Sprintf("%s:c%d", family, channelNumber.Add(1))
}
