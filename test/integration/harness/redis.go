package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// Servers that are away are what these tests are about.
func init() { logging.Disable() }

// Redis is a redis-server process that can be stopped and started on its port.
type Redis struct {
	Addr string
	Log  *Log
	// DB talks to the server directly. It never repeats a command by itself:
	// a test that counts events must know how often it published.
	DB *redis.Client

	dir  string
	args []string
	env  []string
	proc *Process
}

// Durable are arguments with which every acknowledged write is on disk, so
// that what a test published survives any kind of end.
var Durable = []string{"--appendonly", "yes", "--appendfsync", "always"}

// SmallPubSubBuffer are arguments with which a subscriber that reads too
// slowly is soon cut off.
var SmallPubSubBuffer = []string{"--client-output-buffer-limit", "pubsub", "65536", "0", "0"}

// Legacy are arguments with which a server has what Redis 6 had: neither
// functions nor sharded Pub/Sub.
var Legacy = []string{
	"--rename-command", "FCALL", "", "--rename-command", "FCALL_RO", "", "--rename-command", "FUNCTION", "",
	"--rename-command", "SPUBLISH", "", "--rename-command", "SSUBSCRIBE", "", "--rename-command", "SUNSUBSCRIBE", "",
}

// NewRedis starts a Redis that forgets everything when it ends, unless extra
// arguments say otherwise, and uses dir for its files.
func NewRedis(dir string, extra ...string) (*Redis, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	return startServer(addr, dir, append([]string{"--save", ""}, extra...)...)
}

// startServer runs redis-server on addr with its files in dir, which is made.
func startServer(addr, dir string, args ...string) (*Redis, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("redis-server is missing, install it: apt-get install redis-server")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	// A configuration file, which Sentinel must have, comes first.
	own := []string{"--bind", host, "--port", port, "--dir", dir, "--daemonize", "no"}
	if len(args) > 0 && filepath.IsAbs(args[0]) {
		args, own = args[1:], append([]string{args[0]}, own...)
	}
	r := &Redis{
		Addr: addr,
		Log:  &Log{},
		dir:  dir,
		args: append(append([]string{path}, own...), args...),
		DB:   redis.NewClient(directly(addr)),
	}
	if err := r.Start(); err != nil {
		return nil, fmt.Errorf("%w\n%s", errors.Join(err, r.Close()), r.Log)
	}
	return r, nil
}

// directly are the options of a client that does what it is told, once.
func directly(addr string) *redis.Options {
	return &redis.Options{
		Addr:                  addr,
		Protocol:              2,
		MaxRetries:            -1,
		DialerRetries:         1,
		ContextTimeoutEnabled: true,
		ReadTimeout:           Deadline,
	}
}

// URL is what a gateway gets as --redis-url.
func (r *Redis) URL() string { return "redis://" + r.Addr + "/0" }

// PID is the process's id, for who looks at what it takes of the machine.
func (r *Redis) PID() int { return r.proc.PID() }

// Client is DB, as all kinds of Redis have it.
func (r *Redis) Client() redis.UniversalClient { return r.DB }

// Start runs the server and waits until it has loaded its data.
func (r *Redis) Start() error {
	proc, err := StartProcess("redis-server", r.args[0], r.args[1:], r.env, r.Log, r.Log)
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

// StartEmpty is Start on the same address with nothing of what was there.
func (r *Redis) StartEmpty() error {
	files, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.RemoveAll(filepath.Join(r.dir, f.Name())); err != nil {
			return err
		}
	}
	return r.Start()
}

// Running tells whether the process lives.
func (r *Redis) Running() bool {
	select {
	case <-r.proc.Exited():
		return false
	default:
		return true
	}
}

// FlushAll deletes every key.
func (r *Redis) FlushAll(ctx context.Context) error { return r.DB.FlushAll(ctx).Err() }

// FlushFunctions deletes every function.
func (r *Redis) FlushFunctions(ctx context.Context) error { return r.DB.FunctionFlush(ctx).Err() }

// FlushScripts deletes every script.
func (r *Redis) FlushScripts(ctx context.Context) error { return r.DB.ScriptFlush(ctx).Err() }

// KillPubSub closes the connections of all subscribers.
func (r *Redis) KillPubSub(ctx context.Context) error {
	return r.DB.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err()
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
	if r.proc == nil {
		return nil
	}
	return r.proc.Kill()
}
