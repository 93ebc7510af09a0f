package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long a part may take to start; compiling is not counted.
const patience = 30 * time.Second

// system is a running example.
type system struct {
	ctx        context.Context
	cancel     context.CancelFunc
	root, name string
	bin        string // what was built

	secret     string // signs tokens
	site       string // address of the page
	redisURL   string
	shownRedis string // without a password
	gateways   []gateway
	failed     chan error
	children   sync.WaitGroup
}

// gateway is one replica.
type gateway struct {
	addr, ops string
	pid       int
}

func newSystem(ctx context.Context, root, name, site string) (*system, error) {
	bin, err := os.MkdirTemp("", "example-"+name+"-")
	if err != nil {
		return nil, err
	}
	s := &system{root: root, name: name, bin: bin, site: site, secret: rand.Text() + rand.Text(), failed: make(chan error, 8)}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s, nil
}

// close ends all children and waits for them.
func (s *system) close() {
	s.cancel()
	s.children.Wait()
	os.RemoveAll(s.bin)
}

// start builds and starts everything but the site, and returns when events can
// be delivered.
func (s *system) start(redisURL string, replicas int) error {
	fmt.Fprintln(os.Stderr, "building; the first time it takes a minute or two")
	command, err := s.build()
	if err != nil {
		return err
	}
	s.redisURL, s.shownRedis = redisURL, "the gateway's own, kept in memory"
	if u, err := url.Parse(redisURL); redisURL != "" && err == nil {
		s.shownRedis = u.Redacted()
	}
	for range replicas {
		if err := s.startGateway(); err != nil {
			return err
		}
	}
	return s.startBackend(command)
}

// build compiles the gateway and prepares the example's service, whose command
// it returns.
func (s *system) build() ([]string, error) {
	args := []string{"build", "-o", s.bin + string(filepath.Separator), "./cmd/gateway"}
	command := []string{filepath.Join(s.bin, s.name)}
	if _, err := os.Stat(s.path("main.go")); err == nil {
		args = append(args, "./examples/"+s.name)
	} else {
		command = []string{"node", s.path("server.mjs")}
		// Only the first time: a developer's own changes there stay.
		if _, err := os.Stat(filepath.Join(s.root, "examples", "node_modules", "redis")); err != nil {
			if err := s.tool("npm", "ci", "--omit=dev", "--prefix", filepath.Join(s.root, "examples")); err != nil {
				return nil, err
			}
		}
	}
	return command, s.tool("go", args...)
}

func (s *system) tool(name string, args ...string) error {
	cmd := exec.CommandContext(s.ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.root, os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return nil
}

// socket is where the example's service listens. A port that is free now may be
// another's when the service starts.
func (s *system) socket() string { return filepath.Join(s.bin, "socket") }

// path is a file of the example.
func (s *system) path(name string) string { return filepath.Join(s.root, "examples", s.name, name) }

// startGateway starts one replica. The first has the embedded Redis, unless
// another was named, and the others use that.
func (s *system) startGateway() error {
	args := []string{"--dev", "--dev-rights", "--config", s.path("gateway.yaml"), "--addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0", "--log-format", "json"}
	owner := s.redisURL == ""
	cmd := exec.CommandContext(s.ctx, filepath.Join(s.bin, "gateway"), args...)
	cmd.Env = append(foreign(os.Environ()),
		"GATEWAY_JWT_SECRET="+s.secret,
		"GATEWAY_REDIS_URL="+s.redisURL,
		// Asked only where a policy says so.
		"GATEWAY_WEBHOOK_URL=http://"+s.site+"/gateway/may", "GATEWAY_WEBHOOK_SECRET="+s.secret)
	log := newStartLog(s.ctx, os.Stderr)
	cmd.Stderr = log
	ended := make(chan error, 1)
	err := s.launch("gateway", cmd, func(err error) error {
		ended <- err
		if owner {
			return fmt.Errorf("the gateway with the embedded Redis has ended, and with it all state: %w", err)
		}
		fmt.Fprintf(os.Stderr, "gateway pid %d has ended: %v\n", cmd.Process.Pid, err)
		return nil
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	g := gateway{pid: cmd.Process.Pid}
	select {
	case at := <-log.listening:
		g.addr, g.ops = at.Addr, at.Ops
	case err := <-ended:
		return fmt.Errorf("the gateway did not start: %w", err)
	case <-ctx.Done():
		return fmt.Errorf("the gateway did not start within %v", patience)
	}
	if err := s.poll(ctx, http.DefaultClient, "http://"+g.ops+"/readyz", nil); err != nil {
		return err
	}
	s.gateways = append(s.gateways, g)
	if owner {
		var info struct{ Redis string }
		if err := s.poll(ctx, http.DefaultClient, "http://"+g.addr+"/dev/info", &info); err != nil {
			return err
		}
		s.redisURL = "redis://" + info.Redis
		s.shownRedis = s.redisURL + "  (embedded in the first gateway, which ends all when it ends)"
	}
	return nil
}

// startBackend starts the example's service, which knows nothing of the gateway
// but the Redis between them and the secret that signs tokens.
func (s *system) startBackend(command []string) error {
	cmd := exec.CommandContext(s.ctx, command[0], command[1:]...)
	cmd.Dir = s.path("")
	cmd.Env = append(foreign(os.Environ()), "SOCKET="+s.socket(), "REDIS_URL="+s.redisURL, "TOKEN_SECRET="+s.secret, "WEBHOOK_SECRET="+s.secret)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	err := s.launch("service", cmd, func(err error) error { return fmt.Errorf("the example's service has ended: %w", err) })
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	return s.poll(ctx, &http.Client{Transport: s.service()}, "http://service/api/health", nil)
}

// launch starts a child and hands its end, unless we end it, to ended, whose
// error ends everything.
func (s *system) launch(name string, cmd *exec.Cmd, ended func(error) error) error {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	s.children.Go(func() {
		err := cmd.Wait()
		if s.ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("exit status 0")
		}
		if err := ended(err); err != nil {
			s.failed <- err
		}
	})
	return nil
}

// poll asks until the answer is 200, and decodes it.
func (s *system) poll(ctx context.Context, client *http.Client, target string, answer any) error {
	for {
		last := func() error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("status %d", resp.StatusCode)
			}
			if answer == nil {
				return nil
			}
			return json.NewDecoder(resp.Body).Decode(answer)
		}()
		if last == nil {
			return nil
		}
		select {
		case err := <-s.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", target, last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// foreign leaves out settings of the gateway, which are the example's here.
func foreign(environ []string) []string {
	var out []string
	for _, e := range environ {
		if !strings.HasPrefix(e, "GATEWAY_") {
			out = append(out, e)
		}
	}
	return out
}
