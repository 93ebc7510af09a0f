package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"realtime-gateway/test/integration/harness"
	"realtime-gateway/test/load"
)

// side is one of the two servers that are compared.
type side int

const (
	gateway side = iota
	baseline
	sides
)

func (s side) String() string { return [...]string{"gateway", "baseline"}[s] }

// The gateway is measured with what it is for: history, and rights by token.
const policies = `channels:
  - {pattern: "bench:**", historySize: 1000, historyTTL: 1h}
`

// binaries are the paths of the built servers.
type binaries [sides]string

// measure starts fresh processes, carries the plan out on them and ends them.
func (b binaries) measure(ctx context.Context, s side, plan load.Plan) (r *load.Result, err error) {
	dir, err := os.MkdirTemp("", "gateway-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	redis, err := harness.NewRedis(filepath.Join(dir, "redis"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, redis.Close()) }()
	plan.Redis, plan.RedisServer = redis.Addr, redis.PID()

	var log fmt.Stringer
	switch s {
	case gateway:
		config := filepath.Join(dir, "gateway.yaml")
		if err := os.WriteFile(config, []byte(policies), 0o600); err != nil {
			return nil, err
		}
		g, err := harness.NewGateway(b[s], []string{"--redis-url", redis.URL(), "--config", config}, []string{"GATEWAY_JWT_SECRET=" + harness.Secret})
		if err != nil {
			return nil, err
		}
		if err := g.Start(); err != nil {
			return nil, err
		}
		defer g.Close()
		if err := g.WaitReady(); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, g.Log)
		}
		plan.URL, plan.Command, plan.Server = g.URL()+"/v1/events?channel={channel}", load.FunctionCommand, g.Process().PID()
		plan.Token = harness.Token{Sub: "bench", Subscribe: []string{"bench:**"}}.Sign()
		log = g.Log
	case baseline:
		addr, err := harness.FreeAddr()
		if err != nil {
			return nil, err
		}
		out := &harness.Log{}
		p, err := harness.StartProcess("baseline", b[s], []string{"-addr", addr, "-redis", redis.Addr}, nil, out, out)
		if err != nil {
			return nil, err
		}
		defer p.Kill()
		if err := harness.Until("the baseline listens", harness.Deadline, func() error { return get(ctx, "http://"+addr+"/healthz") }); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, out)
		}
		plan.URL, plan.Command, plan.Server = "http://"+addr+"/events?channel={channel}", load.PublishCommand, p.PID()
		log = out
	}
	if r, err = load.Run(ctx, plan); err != nil {
		return nil, fmt.Errorf("%w\n%.3000s", err, log)
	}
	return r, nil
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := harness.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
