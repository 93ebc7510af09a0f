// Package embedded runs a Redis inside the process, for development: miniredis,
// with the gateway's functions callable by FCALL as on a real server. It keeps
// nothing when it ends.
package embedded

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
)

// Server is a running embedded Redis.
type Server struct {
	mini   *miniredis.Miniredis
	client *redis.Client
}

// Start listens on addr, or, where that is taken, on any free port of
// loopback.
func Start(addr string) (*Server, error) {
	mini := miniredis.NewMiniRedis()
	if err := mini.StartAddr(addr); err != nil {
		if err := mini.StartAddr("127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("embedded redis: %w", err)
		}
	}
	mini.ClockTTL(true) // keys expire with the clock, as everywhere else
	mini.Server().SetPreHook(refuseDocs)
	return &Server{mini: mini, client: redis.NewClient(&redis.Options{Addr: mini.Addr(), Protocol: 2, DisableIdentity: true})}, nil
}

// refuseDocs answers COMMAND DOCS like a Redis before 7. miniredis answers with
// the table of COMMAND, at which an interactive redis-cli aborts.
func refuseDocs(c *server.Peer, command string, args ...string) bool {
	if command != "COMMAND" || len(args) == 0 || !strings.EqualFold(args[0], "DOCS") {
		return false
	}
	c.WriteError("ERR unknown subcommand 'DOCS'. Try COMMAND HELP.")
	return true
}

// Addr returns host and port.
func (s *Server) Addr() string { return s.mini.Addr() }

// Close stops the server. Its data is gone.
func (s *Server) Close() {
	_ = s.client.Close()
	s.mini.Close()
}

// Functions makes scripts callable as functions: FCALL name numkeys key… arg….
// They run like every script, one at a time.
func (s *Server) Functions(scripts map[string]string) error {
	run := make(map[string]*redis.Script, len(scripts))
	for name, source := range scripts {
		run[name] = redis.NewScript(source)
	}
	return s.mini.Server().Register("FCALL", func(c *server.Peer, _ string, args []string) {
		if len(args) < 2 {
			c.WriteError("ERR wrong number of arguments for 'fcall' command")
			return
		}
		script, ok := run[args[0]]
		if !ok {
			c.WriteError("ERR Function not found")
			return
		}
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 0 {
			c.WriteError("ERR Bad number of keys provided")
			return
		}
		if n > len(args)-2 {
			c.WriteError("ERR Number of keys can't be greater than number of args")
			return
		}
		rest := make([]any, 0, len(args))
		for _, a := range args[2+n:] {
			rest = append(rest, a)
		}
		answer, err := script.Run(context.Background(), s.client, args[2:2+n], rest...).Result()
		write(c, answer, err)
	})
}

// write passes an answer on as it came.
func write(c *server.Peer, answer any, err error) {
	switch v := answer.(type) {
	case nil:
		if err == nil || err == redis.Nil {
			c.WriteNull()
			return
		}
		text := err.Error()
		if !strings.Contains(text, " ") {
			text = "ERR " + text
		}
		c.WriteError(text)
	case int64:
		c.WriteInt(int(v))
	case string:
		c.WriteBulk(v)
	case []any:
		c.WriteLen(len(v))
		for _, e := range v {
			write(c, e, nil)
		}
	default:
		c.WriteError(fmt.Sprintf("ERR unexpected answer %T", v))
	}
}
