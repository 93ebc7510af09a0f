package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/internal/config"
)

// newLogger returns the logger that the configuration asks for.
func newLogger(cfg *config.Config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

// redisClientLog takes what the Redis client logs by itself, which is a line
// for every attempt to connect. The bus logs each change of state once.
type redisClientLog struct{ log *slog.Logger }

// Printf implements the client's logger.
func (l redisClientLog) Printf(ctx context.Context, format string, v ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "redis client", "says", fmt.Sprintf(format, v...))
	}
}

func quietRedisClient(log *slog.Logger) { redis.SetLogger(redisClientLog{log}) }
