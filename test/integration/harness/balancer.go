package harness

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Balancer is a load balancer in front of replicas. That of NewBalancer sends
// newcomers to those that say they are ready, at random, and leaves streams
// alone.
type Balancer struct {
	Addr string
	Log  *Log

	proc *Process
}

const balancerConfig = `global
	log stdout format raw local0
	maxconn 4000
defaults
	mode http
	log global
	timeout connect 2s
	timeout client 1h
	timeout server 1h
	timeout tunnel 1h
	timeout http-request 15s
	retries 3
	option redispatch 1
listen gateway
	bind %s
	balance random
	option httpchk
	http-check send meth GET uri /readyz
	http-check expect status 200
	default-server check inter 200ms fastinter 100ms fall 1 rise 1
`

// NewBalancer starts it, with its files in dir, and waits until it knows
// replicas that are ready.
func NewBalancer(dir string, replicas ...*Gateway) (*Balancer, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	var config strings.Builder
	fmt.Fprintf(&config, balancerConfig, addr)
	for i, g := range replicas {
		_, ops, _ := strings.Cut(g.OpsAddr, ":")
		fmt.Fprintf(&config, "\tserver replica-%d %s port %s\n", i, g.Addr, ops)
	}
	return NewHAProxy(dir, addr, config.String())
}

// NewHAProxy starts a haproxy whose configuration has it listen on addr, with
// its files in dir, and waits until it passes requests on.
func NewHAProxy(dir, addr, config string) (*Balancer, error) {
	// -db keeps it one process in the foreground.
	return startBalancer("haproxy", dir, addr, config, "-db", "-f")
}

// NewNginx is NewHAProxy for nginx.
func NewNginx(dir, addr, config string) (*Balancer, error) {
	// One process in the foreground, for who ends it may not ask it.
	return startBalancer("nginx", dir, addr, config, "-p", dir, "-e", "stderr", "-g", "daemon off; master_process off;", "-c")
}

// startBalancer runs program with args and, as the last one, the file of its
// configuration.
func startBalancer(program, dir, addr, config string, args ...string) (*Balancer, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%s is missing, install it: apt-get install %[1]s", program)
	}
	file := filepath.Join(dir, program+".conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	b := &Balancer{Addr: addr, Log: &Log{}}
	if b.proc, err = StartProcess(program, path, append(args, file), nil, b.Log, b.Log); err != nil {
		return nil, err
	}
	err = Until("the balancer passes requests on", Deadline, func() error {
		select {
		case <-b.proc.Exited():
			return fmt.Errorf("it exited: %s", b.Log)
		default:
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, b.URL()+"/v1/events", nil)
		if err != nil {
			return err
		}
		resp, err := Client.Do(req)
		if err != nil {
			return err
		}
		if resp.StatusCode >= http.StatusInternalServerError {
			err = fmt.Errorf("it has nobody to pass them to: status %d", resp.StatusCode)
		}
		_ = resp.Body.Close()
		return err
	})
	return b, err
}

// URL is its public side.
func (b *Balancer) URL() string { return "http://" + b.Addr }

// Close ends it.
func (b *Balancer) Close() error {
	if b.proc == nil {
		return nil
	}
	return b.proc.Kill()
}
