// Command run starts one of the examples, whole: the gateway, the example's
// service, and its page on one origin, as behind an ingress.
//
//	go run ./examples/run kanban
//	go run ./examples/run kanban --redis-url redis://127.0.0.1:6379
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "examples/run:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	examples, err := list(root)
	if err != nil {
		return err
	}
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:3000", "`address` of the page, on loopback")
	redisURL := flags.String("redis-url", os.Getenv("GATEWAY_REDIS_URL"), "`URL` of a Redis; empty: the gateway's embedded one")
	replicas := flags.Int("replicas", 2, "how many gateways; end one to see its clients move")
	flags.Usage = func() {
		fmt.Fprintf(os.Stderr, "go run ./examples/run %s [flags]\n%s", strings.Join(examples, "|"), flags.FlagUsages())
	}
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() != 1 || !slices.Contains(examples, flags.Arg(0)) {
		return fmt.Errorf("name one example: allowed is %s", strings.Join(examples, ", "))
	}
	if *replicas < 1 {
		return fmt.Errorf("--replicas is %d: allowed is 1 or more", *replicas)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use: name another address with --addr, such as --addr 127.0.0.1:3001", *addr)
	} else if err != nil {
		return fmt.Errorf("listen on --addr: %w", err)
	}
	defer listener.Close()

	s, err := newSystem(ctx, root, flags.Arg(0), listener.Addr().String())
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.start(*redisURL, *replicas); err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler()}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()

	fmt.Printf("\n  %-8s http://%s/\n", s.name, listener.Addr())
	for _, g := range s.gateways {
		fmt.Printf("  %-8s http://%s  pid %d, who is connected: http://%s/v1/connections\n", "gateway", g.addr, g.pid, g.ops)
	}
	fmt.Printf("  %-8s %s\n\nKill a gateway, and its clients move to another. Ctrl-C ends all of it.\n", "redis", s.shownRedis)

	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return err
	}
}

// list names the examples: the folders with a configuration for the gateway.
func list(root string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(root, "examples", "*", "gateway.yaml"))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(files))
	for i, file := range files {
		names[i] = filepath.Base(filepath.Dir(file))
	}
	return names, nil
}

// moduleRoot is where this repository lies.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	path, dir, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if path != "realtime-gateway" {
		return "", fmt.Errorf("run it inside the repository of the gateway, not in the module %s", path)
	}
	return dir, nil
}
