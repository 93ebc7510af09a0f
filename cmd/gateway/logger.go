package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/internal/config"
	"realtime-gateway/internal/httpapi"
	"realtime-gateway/internal/telemetry"
)

// logger is the process' logger, whose level can be changed while it runs.
type logger struct {
	*slog.Logger
	level *slog.LevelVar
}

// newLogger returns the logger that the configuration asks for.
func newLogger(cfg *config.Config, w io.Writer) *logger {
	level := new(slog.LevelVar)
	level.Set(cfg.LogLevel)
	o := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewJSONHandler(w, o)
	if cfg.LogFormat == "text" {
		h = slog.NewTextHandler(w, o)
	}
	return &logger{slog.New(telemetry.LogHandler(h)), level}
}

var _ httpapi.LogLevel = (*logger)(nil)

// Level implements httpapi.LogLevel.
func (l *logger) Level() string { return config.LevelName(l.level.Level()) }

// SetLevel implements httpapi.LogLevel.
func (l *logger) SetLevel(name string) error {
	to, err := config.ParseLevel(name)
	if err != nil {
		return err
	}
	before := l.Level()
	l.level.Set(to)
	l.Warn("the log level is changed", "from", before, "to", name)
	return nil
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
