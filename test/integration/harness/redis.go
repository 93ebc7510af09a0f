package harness

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a redis-server process that can be stopped and started on its port.
type Redis struct {
	Addr string
	Log  *Log
	// DB talks to the server directly. It never repeats a command by itself:
	// a test that counts events must know how often it published.
	DB *redis.Client

	args []string
	proc *Process
}

// Durable are arguments with which every acknowledged write is on disk, so
// that what a test published survives any kind of end.
var Durable = []string{"--appendonly", "yes", "--appendfsync", "always"}

// NewRedis starts a Redis that forgets everything when it ends, unless extra
// arguments say otherwise, and uses dir for its files.
func NewRedis(dir string, extra ...string) (*Redis, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("redis-server is missing, install it: apt-get install redis-server")
	}
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	r := &Redis{
		Addr: addr,
		Log:  &Log{},
		args: append([]string{path,
			"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--daemonize", "no",
			"--save", "",
		}, extra...),
		DB: redis.NewClient(&redis.Options{
			Addr:                  addr,
			Protocol:              2,
			MaxRetries:            -1,
			ContextTimeoutEnabled: true,
			ReadTimeout:           Deadline,
		}),
	}
	if err := r.Start(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, r.Log)
	}
	return r, nil
}

// URL is what a gateway gets as --redis-url.
func (r *Redis) URL() string { return "redis://" + r.Addr + "/0" }

// Start runs the server and waits until it has loaded its data.
func (r *Redis) Start() error {
	proc, err := StartProcess("redis-server", r.args[0], r.args[1:], nil, r.Log, r.Log)
	if err != nil {
		return err
	}
	r.proc = proc
	return Until("redis-server answers", Deadline, func() error {
		select {
		case <-proc.Exited():
			return fmt.Errorf("it exited")
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return r.DB.Ping(ctx).Err()
	})
}

// Stop ends the server in order.
func (r *Redis) Stop() error {
	_, err := r.proc.Terminate()
	return err
}

// Kill ends the server like a power cut.
func (r *Redis) Kill() error { return r.proc.Kill() }

// Freeze stops the process without closing its sockets: what a hung host looks
// like from outside.
func (r *Redis) Freeze() error { return r.proc.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (r *Redis) Thaw() error { return r.proc.Signal(syscall.SIGCONT) }

// Close ends the server, whatever its state, and the connections to it.
func (r *Redis) Close() error {
	_ = r.DB.Close()
	return r.proc.Kill()
}
