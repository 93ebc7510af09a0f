package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// documented returns the block of a language in docs/load-balancers.md.
func documentedSettings(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/load-balancers.md")
	must(t, err)
	_, rest, found := strings.Cut(string(text), "```"+language+"\n")
	block, _, closed := strings.Cut(rest, "```\n")
	if !found || !closed || strings.Contains(rest, "```"+language+"\n") {
		t.Fatalf("docs/load-balancers.md has not one block of %s", language)
	}
	return block
}

// proxyKinds are the documented proxies, and nginx with nothing set but where
// the replicas are.
var proxyKinds = map[string]struct {
	config func(*testing.T) string
	start  func(dir, addr, config string) (*harness.Balancer, error)
}{
	"nginx":            {func(t *testing.T) string { return documentedSettings(t, "nginx") }, harness.NewNginx},
	"haproxy":          {func(t *testing.T) string { return documentedSettings(t, "haproxy") }, harness.NewHAProxy},
	"nginx by default": {func(*testing.T) string { return nginxDefaults }, harness.NewNginx},
}

const nginxDefaults = `pid /tmp/nginx.pid;
events {}
http {
	access_log off;
	client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi; uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
	upstream gateway { server gateway-1:8080; server gateway-2:8080; }
	server { listen 8080; location / { proxy_pass http://gateway; proxy_http_version 1.1; } }
}
`

// documentedTimeout is what docs/load-balancers.md gives a stream without a
// byte.
const documentedTimeout = "75s"

// proxied starts a proxy of a kind in front of the fixture's replicas. What
// belongs to a place is replaced in its configuration: addresses, open files, the
// folder of temporary files, and, if timeout is not empty, the time without a byte.
func proxied(t *testing.T, kind string, f *fixture, timeout string) *harness.Balancer {
	t.Helper()
	k := proxyKinds[kind]
	config := k.config(t)
	dir := t.TempDir()
	addr, err := harness.FreeAddr()
	must(t, err)
	replace := func(old, with string) {
		t.Helper()
		if !strings.Contains(config, old) {
			t.Fatalf("the configuration of %s has no %q", kind, old)
		}
		config = strings.ReplaceAll(config, old, with)
	}
	if _, rest, found := strings.Cut(config, "server gateway-2"); found {
		// The others like the second.
		line, _, _ := strings.Cut(rest, "\n")
		line = "server gateway-2" + line
		lines := line
		for i := 3; i <= len(f.replicas); i++ {
			lines += "\n" + strings.ReplaceAll(line, "gateway-2", fmt.Sprintf("gateway-%d", i))
		}
		replace(line, lines)
	}
	for i := range max(2, len(f.replicas)) {
		g := f.replicas[i%len(f.replicas)]
		_, ops, _ := strings.Cut(g.OpsAddr, ":")
		name := fmt.Sprintf("gateway-%d:8080", i+1)
		if kind == "haproxy" {
			replace(name+" check port 9090", g.Addr+" check port "+ops)
		}
		config = strings.ReplaceAll(config, name, g.Addr)
	}
	if kind == "haproxy" {
		replace("bind :8080", "bind "+addr)
		replace("maxconn 100000", "maxconn 4000") // it does not start where it may not open the files
	} else {
		replace("listen 8080;", "listen "+addr+";")
		replace("/tmp/", dir+"/")
	}
	if timeout != "" {
		replace(documentedTimeout, timeout)
	}
	b, err := k.start(dir, addr, config)
	if b != nil {
		t.Cleanup(func() {
			must(t, b.Close())
			if t.Failed() {
				t.Logf("%s said:\n%s", kind, b.Log)
			}
		})
	}
	must(t, err)
	return b
}

// onProxies runs a test behind each of the kinds.
func onProxies(t *testing.T, test func(t *testing.T, kind string), kinds ...string) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

// An event arrives while its stream stays open, one at a time, and a client that
// hangs up is gone at the replica as well.
func TestProxiesPassStreamsOn(t *testing.T) {
	onProxies(t, func(t *testing.T, kind string) {
		f := own(t, setup{})
		b := proxied(t, kind, f, "")
		ch := channel("hist")
		s := open(t, b.URL(), on(ch))
		for n := range 3 {
			fcall(t, f, ch, harness.Counted(n+1))
			waitNumber(t, s, ch, n+1)
		}
		stillOpen(t, s)
		if s.Header.Get("Content-Encoding") != "" || s.Header.Get("Content-Length") != "" {
			t.Errorf("the stream is sent as %v", s.Header)
		}
		wantConnections(t, f, 1)
		s.Close()
		wantConnections(t, f, 0)
	}, "nginx", "haproxy", "nginx by default")
}

// wantConnections waits until the replicas together have n streams.
func wantConnections(t *testing.T, f *fixture, want int) {
	t.Helper()
	must(t, harness.Until(fmt.Sprintf("%d streams at the replicas", want), harness.Deadline, func() error {
		got := 0
		for _, g := range f.replicas {
			n, err := connections(g)
			if err != nil {
				return err
			}
			got += n
		}
		if got != want {
			return fmt.Errorf("there are %d", got)
		}
		return nil
	}))
}

// Heartbeats keep a quiet stream through several times the proxy's time without
// a byte. Where they come too seldom the proxy cuts it, which shows that its
// time was set at all.
func TestProxiesKeepQuietStreams(t *testing.T) {
	onProxies(t, func(t *testing.T, kind string) {
		f := own(t, setup{flags: []string{"--heartbeat", "1s"}})
		seldom := own(t, setup{replicas: 1, flags: []string{"--heartbeat", "1m"}})
		s := open(t, proxied(t, kind, f, "3s").URL(), on(channel("hist")))
		cut := open(t, proxied(t, kind, seldom, "3s").URL(), on(channel("hist")))
		waitEnd(t, cut, harness.Deadline)
		waitFor(t, s, 2*harness.Deadline, "9 heartbeats", func(v harness.View) bool { return v.Comments >= 9 })
		stillOpen(t, s)
	}, "nginx", "haproxy")
}

// All replicas are restarted, one after the other, behind a proxy without sticky
// sessions, while events are published: nobody misses one, and at no moment does
// a browser get an answer on which it would give up.
func TestProxiesDuringARollingRestart(t *testing.T) {
	onProxies(t, func(t *testing.T, kind string) {
		f := own(t, setup{flags: []string{"--drain-time", "1s"}})
		b := proxied(t, kind, f, "")
		ch := channel("many")
		var clients []*harness.Follower
		for range 8 {
			clients = append(clients, follow(t, on(ch), b.URL()))
		}
		p := harness.StartPublisher(f.db(), harness.ByFunction, 5*time.Millisecond, ch)
		for _, g := range f.replicas {
			must(t, p.More(40))
			code, err := g.Process().Terminate()
			must(t, err)
			if code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			must(t, p.More(40))
			must(t, g.Start())
			must(t, g.WaitReady())
		}
		last, err := p.Stop()
		must(t, err)
		for _, c := range clients {
			v := waitNumber(t, c, ch, last)
			wantNumbers(t, v.Of(ch), 1, last)
			if v.EndErr != nil && strings.Contains(v.EndErr.Error(), "status") {
				t.Errorf("a browser would have given up: %v", v.EndErr)
			}
			if c.Connections() < 2 {
				t.Error("a client lived through the restart of both replicas on one connection")
			}
		}
	}, "nginx", "haproxy")
}

// nginx has no health checks, and newcomers go to the replica with the fewest
// connections, which is the one that drains: it passes them on, so each of its
// clients moves once. While no replica is left but such, a browser is told to come
// back. How long clients were away is printed.
func TestNginxLeavesAReplicaThatDrains(t *testing.T) {
	t.Parallel()
	const clients, drain = 100, 5 * time.Second
	f := own(t, setup{flags: []string{"--drain-time", drain.String()}})
	b := proxied(t, "nginx", f, "")
	ch := channel("hist")
	var browsers []*harness.Follower
	for range clients {
		c := harness.Browse(on(ch), b.URL())
		t.Cleanup(c.Close)
		browsers = append(browsers, c)
	}
	for _, c := range browsers {
		wait(t, c, "the stream begins", func(v harness.View) bool { return len(v.Named("gateway.open")) > 0 })
	}
	had, err := connections(f.replicas[0])
	must(t, err)
	must(t, f.replicas[0].Process().Signal(syscall.SIGTERM))
	wantExit(t, f.replicas[0], 0)
	must(t, harness.Until("all clients are at the other replica", harness.Deadline, func() error {
		n, err := connections(f.replicas[1])
		if err == nil && n != clients {
			err = fmt.Errorf("it has %d", n)
		}
		return err
	}))
	var away []time.Duration
	for _, c := range browsers {
		v := wait(t, c, "its stream is open", func(v harness.View) bool {
			return len(v.Named("gateway.open")) > min(1, len(v.Named("gateway.close")))
		})
		closes, opens := v.Named("gateway.close"), v.Named("gateway.open")
		if len(closes) == 0 {
			continue
		}
		if len(closes) > 1 || len(opens) != 2 || v.EndErr != nil {
			t.Errorf("a client was sent away %d times and began %d streams (%v), want 1 and 2", len(closes), len(opens), v.EndErr)
		}
		away = append(away, opens[1].At.Sub(closes[0].At))
	}
	if len(away) != had || had == 0 {
		t.Fatalf("%d clients moved, want the %d of the replica", len(away), had)
	}
	slices.Sort(away)
	harness.Figure(t, "%d of %d clients moved over a drain of %v: away %v in the median, %v at most", had, clients, drain, away[len(away)/2], away[len(away)-1])

	must(t, f.replicas[1].Process().Signal(syscall.SIGTERM))
	must(t, f.replicas[1].WaitStatus(harness.NotReady))
	v := waitEnd(t, connect(t, b.URL(), on(ch)), harness.Deadline)
	if len(v.Retries) != 1 || v.Retries[0] != "5000" || v.EndErr != nil {
		t.Errorf("while the last replica drains a newcomer gets %s", v)
	}
	wantExit(t, f.replicas[1], 0)
}

// While no replica is there, who asks for a stream is told when to come back, and
// who does not gets 503.
func TestProxiesWithoutReplicas(t *testing.T) {
	onProxies(t, func(t *testing.T, kind string) {
		f := own(t, setup{})
		b := proxied(t, kind, f, "")
		for _, g := range f.replicas {
			must(t, g.Kill())
		}
		must(t, harness.Until("the proxy says when to come back", harness.Deadline, func() error {
			s, err := harness.Open(b.URL(), on(channel("hist")))
			if err != nil {
				return err
			}
			defer s.Close()
			v, err := s.Wait("the stream ends", harness.Deadline, func(v harness.View) bool { return v.Ended || s.Status != http.StatusOK })
			if err != nil || s.Status != http.StatusOK || len(v.Retries) != 1 || v.Retries[0] != "5000" {
				return fmt.Errorf("status %d, %s%s, retry %q, %w", s.Status, s.Problem, s.Raw, v.Retries, err)
			}
			return nil
		}))
		resp, err := harness.Client.Get(b.URL() + "/v1/events?mode=poll&channel=hist:x")
		must(t, err)
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a poll is answered %d %s", resp.StatusCode, body)
		}
		must(t, f.replicas[0].Start())
		must(t, harness.Until("streams are back", harness.Deadline, func() error {
			s, err := harness.Open(b.URL(), on(channel("hist")))
			if err != nil {
				return err
			}
			defer s.Close()
			_, err = s.Wait("gateway.open", time.Second, func(v harness.View) bool { return len(v.Named("gateway.open")) > 0 })
			return err
		}))
	}, "nginx", "haproxy")
}

// With trusted-proxies a client's address is the one that the proxy appends,
// whatever the client puts before it; without, it is the proxy's.
func TestProxiesSayWhoTheClientIs(t *testing.T) {
	onProxies(t, func(t *testing.T, kind string) {
		client := func(address, forged string) harness.Subscribe {
			return harness.Subscribe{Channels: []string{channel("hist")}, Source: address, Header: http.Header{"X-Forwarded-For": {forged}}}
		}
		trusting := own(t, setup{replicas: 1, flags: []string{"--max-connections-per-address", "1", "--trusted-proxies", "127.0.0.1"}})
		b := proxied(t, kind, trusting, "")
		open(t, b.URL(), client("127.0.0.7", "192.0.2.1"))
		open(t, b.URL(), client("127.0.0.8", "192.0.2.1"))
		if c := wantClose(t, waitEnd(t, connect(t, b.URL(), client("127.0.0.7", "192.0.2.2")), harness.Deadline), true); c.Reason != "limit" {
			t.Errorf("a second stream from the same address is closed for %q", c.Reason)
		}

		cautious := own(t, setup{replicas: 1, flags: []string{"--max-connections-per-address", "1"}})
		b = proxied(t, kind, cautious, "")
		open(t, b.URL(), client("127.0.0.7", "192.0.2.1"))
		if c := wantClose(t, waitEnd(t, connect(t, b.URL(), client("127.0.0.8", "192.0.2.2")), harness.Deadline), true); c.Reason != "limit" {
			t.Errorf("a second stream from the proxy's address is closed for %q", c.Reason)
		}
	}, "nginx", "haproxy")
}
