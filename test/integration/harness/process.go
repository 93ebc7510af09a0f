package harness

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Deadline is how long anything may take that should happen at once. It is
// long, because a busy machine is no finding.
const Deadline = 15 * time.Second

// Process is one running program.
type Process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed by the waiting goroutine, after err is set
	err  error
}

// StartProcess runs a program with exactly the given environment and nothing
// inherited.
func StartProcess(name, path string, args, env []string, stdout, stderr io.Writer) (*Process, error) {
	cmd := exec.Command(path, args...)
	cmd.Env = env
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would mean: inherit everything
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = diesWithParent()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to this process alone.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Exited is closed when the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.done }

// Wait waits for the exit and returns its code.
func (p *Process) Wait(limit time.Duration) (code int, err error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
		return 0, fmt.Errorf("%s still runs after %v", p.name, limit)
	}
}

// Kill ends the process without asking and waits until it is gone.
func (p *Process) Kill() error {
	_ = p.Signal(syscall.SIGKILL) // it may be gone already
	// Stopped processes die of SIGKILL as well.
	_, err := p.Wait(Deadline)
	return err
}

// Terminate asks the process to end, waits, and returns its exit code.
func (p *Process) Terminate() (code int, err error) {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("terminate %s: %w", p.name, err)
	}
	return p.Wait(2 * Deadline)
}
