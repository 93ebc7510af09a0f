package harness

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Gateway is one replica, which can be stopped and started on its ports.
type Gateway struct {
	Addr, OpsAddr string
	Log           *Log

	binary string
	args   []string
	env    []string
	proc   *Process
}

// NewGateway prepares a replica with the given flags, beside its two
// addresses, and the given environment and nothing else in it.
func NewGateway(binary string, args, env []string) (*Gateway, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	ops, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	return &Gateway{
		Addr: addr, OpsAddr: ops, Log: &Log{},
		binary: binary,
		args:   append([]string{"--addr", addr, "--ops-addr", ops}, args...),
		env:    env,
	}, nil
}

// URL is the replica's public side.
func (g *Gateway) URL() string { return "http://" + g.Addr }

// Process is the running process, or the last one.
func (g *Gateway) Process() *Process { return g.proc }

// Start runs the process and does not wait for anything.
func (g *Gateway) Start() error {
	proc, err := StartProcess("gateway", g.binary, g.args, g.env, g.Log, g.Log)
	if err != nil {
		return err
	}
	g.proc = proc
	return nil
}

// WaitReady waits until /readyz says that the replica can deliver.
func (g *Gateway) WaitReady() error {
	return Until("gateway is ready", 2*Deadline, func() error {
		select {
		case <-g.proc.Exited():
			return fmt.Errorf("it exited")
		default:
		}
		status, body, err := g.Ops("/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/readyz is %d: %s", status, body)
		}
		return err
	})
}

// Ops asks the replica's operations port.
func (g *Gateway) Ops(path string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.OpsAddr+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := Client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// Kill ends the replica like a crash.
func (g *Gateway) Kill() error { return g.proc.Kill() }

// Close ends the replica, whatever its state.
func (g *Gateway) Close() error {
	if g.proc == nil {
		return nil
	}
	return g.proc.Kill()
}
