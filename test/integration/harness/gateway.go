package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
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

// What /readyz says.
const (
	Ready    = "ready"     // 200: it can deliver
	Degraded = "degraded"  // 200: it cannot, as none can
	NotReady = "not ready" // 503
)

// WaitReady waits until /readyz says that the replica can deliver.
func (g *Gateway) WaitReady() error { return g.WaitStatus(Ready) }

// WaitStatus waits until /readyz says one of these.
func (g *Gateway) WaitStatus(wanted ...string) error {
	return Until(fmt.Sprintf("gateway is %q", wanted), 2*Deadline, func() error {
		select {
		case <-g.proc.Exited():
			return fmt.Errorf("it exited")
		default:
		}
		status, body, err := g.Readiness()
		if err == nil && !slices.Contains(wanted, status) {
			err = fmt.Errorf("/readyz says %s", body)
		}
		return err
	})
}

// Readiness returns what /readyz says, and all of its answer. The error tells also
// of an answer that contradicts its status code.
func (g *Gateway) Readiness() (status, body string, err error) {
	code, body, err := g.Ops("/readyz")
	if err != nil {
		return "", "", err
	}
	var answer struct{ Status string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return "", body, fmt.Errorf("/readyz is %d: %w: %s", code, err, body)
	}
	codes := map[string]int{Ready: http.StatusOK, Degraded: http.StatusOK, NotReady: http.StatusServiceUnavailable}
	if codes[answer.Status] != code {
		return "", body, fmt.Errorf("/readyz is %d: %s", code, body)
	}
	return answer.Status, body, nil
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
