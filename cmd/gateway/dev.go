package main

import (
	"fmt"
	"io"
	"net"
	"net/url"

	"realtime-gateway/internal/config"
	"realtime-gateway/internal/embedded"
	"realtime-gateway/internal/httpapi"
	"realtime-gateway/pkg/redisbus"
	"realtime-gateway/web/dev"
)

// devRedisAddr is where the embedded Redis listens if the port is free.
const devRedisAddr = "127.0.0.1:6399"

// devMode is what --dev adds: an embedded Redis, unless one is named, and the
// demo page.
type devMode struct {
	addr, opsAddr string
	prefix        string
	rights        bool // asks for tokens
	redisURL      string
	redisAddr     string
	redis         *embedded.Server // nil where --redis-url names another
}

func startDev(cfg *config.Config, addr, opsAddr string) (*devMode, error) {
	d := &devMode{addr: addr, opsAddr: opsAddr, prefix: cfg.RedisPrefix, rights: cfg.DevRights, redisURL: cfg.RedisURL}
	if d.redisURL != "" {
		if u, err := url.Parse(d.redisURL); err == nil {
			d.redisAddr = u.Host
		}
		return d, nil
	}
	var err error
	if d.redis, err = embedded.Start(devRedisAddr); err != nil {
		return nil, err
	}
	d.redisAddr = d.redis.Addr()
	d.redisURL = "redis://" + d.redisAddr
	return d, nil
}

// attach makes the gateway's functions callable in the embedded Redis.
func (d *devMode) attach(bus *redisbus.Bus) error {
	if d.redis == nil {
		return nil
	}
	return d.redis.Functions(bus.Scripts())
}

func (d *devMode) close() {
	if d.redis != nil {
		d.redis.Close()
	}
}

// routes is what the demo page asks for.
func (d *devMode) routes(bus *redisbus.Bus) *httpapi.Dev {
	type replica struct {
		ID  string `json:"id"`
		URL string `json:"url"`
	}
	return &httpapi.Dev{
		Page: dev.Handler(),
		Info: func() any {
			return map[string]string{"addr": d.addr, "redis": d.redisAddr, "prefix": d.prefix}
		},
		Replicas: func() any {
			list := []replica{}
			for _, name := range bus.Replicas() {
				// Replicas that do not run in development have other names.
				if _, _, err := net.SplitHostPort(name); err == nil {
					list = append(list, replica{ID: name, URL: "http://" + name})
				}
			}
			return list
		},
	}
}

// banner prints what to do next.
func (d *devMode) banner(out io.Writer) {
	host, port, _ := net.SplitHostPort(d.redisAddr)
	kind := "embedded Redis, kept in memory only"
	if d.redis == nil {
		kind = "your Redis"
	}
	who := "no token needed"
	if d.rights {
		who = "a token needed, as Authorization: Bearer"
	}
	_, publicPort, _ := net.SplitHostPort(d.addr)
	fmt.Fprintf(out, `
Realtime Gateway, development mode: %[9]s, this machine only.

  demo page   http://%[1]s/
  redis       redis://%[2]s   (%[3]s)
  operations  http://%[4]s/readyz and /metrics

Subscribe:
  curl -N 'http://%[1]s/v1/events?channel=hello:world'
Publish, each on its own:
  curl -d '{"type":"greeting","data":"hi"}' 'http://%[1]s/v1/channels/hello:world/events'
  redis-cli -h %[5]s -p %[6]s FCALL gateway_publish 1 %[7]s:hello:world '{"type":"greeting","data":"hi"}'
  redis-cli -h %[5]s -p %[6]s PUBLISH hello:world 'plain text works too'
A second replica on the same Redis; stop it, and its page moves here:
  go run ./cmd/gateway --dev --addr 127.0.0.1:%[8]s --redis-url redis://%[2]s

`, d.addr, d.redisAddr, kind, d.opsAddr, host, port, d.prefix, nextPort(publicPort), who)
}

func nextPort(port string) string {
	var n int
	if _, err := fmt.Sscan(port, &n); err != nil || n >= 65535 {
		return "8081"
	}
	return fmt.Sprint(n + 1)
}
