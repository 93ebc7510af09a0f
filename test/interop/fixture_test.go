package interop_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"realtime-gateway/test/integration/harness"
)

const policies = `channels:
  - {pattern: "public:**", historySize: 1000, subscribe: public}
  - {pattern: "few:**", historySize: 5, subscribe: public}
  - {pattern: "private:**", historySize: 1000}
`

// fixture is a Redis, replicas on it, and a load balancer in front.
type fixture struct {
	redis    *harness.Redis
	replicas []*harness.Gateway
	balancer *harness.Balancer
}

// start brings a fixture up that ends with the test.
func start(t *testing.T, replicas int, flags ...string) *fixture {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "gateway.yaml")
	must(t, os.WriteFile(config, []byte(policies), 0o600))
	f := &fixture{}
	var err error
	f.redis, err = harness.NewRedis(filepath.Join(dir, "redis"))
	must(t, err)
	t.Cleanup(func() { must(t, f.redis.Close()) })
	for i := range replicas {
		g, err := harness.NewGateway(gateway, append([]string{"--redis-url", f.redis.URL(), "--config", config}, flags...),
			[]string{"GATEWAY_JWT_SECRET=" + harness.Secret})
		must(t, err)
		f.replicas = append(f.replicas, g)
		t.Cleanup(func() {
			must(t, g.Close())
			if t.Failed() {
				t.Logf("replica %d said:\n%.8000s", i, g.Log)
			}
		})
		must(t, g.Start())
	}
	for _, g := range f.replicas {
		must(t, g.WaitReady())
	}
	f.balancer, err = harness.NewBalancer(dir, f.replicas...)
	must(t, err)
	t.Cleanup(func() { must(t, f.balancer.Close()) })
	return f
}

// count publishes the counted events first to last on each channel.
func (f *fixture) count(t *testing.T, first, last int, channels ...string) {
	t.Helper()
	for n := first; n <= last; n++ {
		for _, ch := range channels {
			f.publish(t, ch, harness.Counted(n))
		}
	}
}

func (f *fixture) publish(t *testing.T, channel, payload string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Deadline)
	defer cancel()
	must(t, harness.ByFunction(ctx, f.redis.DB, channel, payload))
}

// taken waits until the balancer sends newcomers to the replica.
func (f *fixture) taken(t *testing.T, g *harness.Gateway) {
	t.Helper()
	must(t, harness.Until("newcomers reach "+g.Addr, harness.Deadline, func() error {
		s, err := harness.Open(f.balancer.URL(), harness.Subscribe{Channels: []string{"public:probe"}})
		if err != nil {
			return err
		}
		defer s.Close()
		_, body, err := g.Ops("/v1/connections?channel=public:probe")
		if err != nil {
			return err
		}
		var list struct{ Total int }
		if err := json.Unmarshal([]byte(body), &list); err != nil || list.Total == 0 {
			return fmt.Errorf("this one went elsewhere (%v): %s", err, body)
		}
		return nil
	}))
}

// front is a proxy before a replica that remembers who asked, and answers by
// itself for a while.
type front struct {
	*httptest.Server
	proxy *httputil.ReverseProxy

	mu       sync.Mutex
	requests []*http.Request
	answer   int // status, if not 0
}

func newFront(t *testing.T, g *harness.Gateway) *front {
	t.Helper()
	to, err := url.Parse(g.URL())
	must(t, err)
	f := &front{proxy: httputil.NewSingleHostReverseProxy(to)}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	// Streams do not end by themselves, and Close waits for them.
	t.Cleanup(f.CloseClientConnections)
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if r.URL.Query().Has("channel") && r.Header.Get("Accept") == "text/event-stream" {
		f.requests = append(f.requests, r.Clone(context.Background()))
	}
	answer := f.answer
	f.mu.Unlock()
	if answer == http.StatusOK {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	if answer != 0 {
		w.WriteHeader(answer)
		_, _ = io.WriteString(w, "retry: 5000\n\n")
		return
	}
	defer func() { _ = recover() }() // the proxy's way to end what the other side has cut
	f.proxy.ServeHTTP(w, r)
}

// answerBy sets the status of all answers, or with 0 passes requests on. With
// 200 the answer is what docs/load-balancers.md has proxies say in place of 503.
func (f *front) answerBy(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = status
}

// asked returns the requests for streams so far.
func (f *front) asked() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[:len(f.requests):len(f.requests)]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
