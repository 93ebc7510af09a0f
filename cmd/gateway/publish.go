package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"realtime-gateway/internal/config"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
)

// maxStdin is the largest payload that any gateway may be told to take.
const maxStdin = 16 << 20

func (p *program) publishCommand() *cobra.Command {
	var m redisbus.Message
	cmd := &cobra.Command{
		Use:   "publish CHANNEL PAYLOAD",
		Short: "Publish one event to Redis and print its position",
		Long: "Publishes one event straight to Redis, as a backend service does, and prints its position.\n" +
			"A payload that is a JSON object with a string \"type\" is the event; any other text becomes its data.\n" +
			"The payload - is read from standard input.",
		Example: `  gateway publish project:42:tasks '{"type":"task_created","data":{"id":7}}'`,
		Args:    exactly("CHANNEL", "PAYLOAD"),
	}
	fs := cmd.Flags()
	fs.StringVar(&m.EventID, "event-id", "", "the event's own `id`: published again within the idempotency window, it changes nothing")
	fs.StringVar(&m.Type, "type", "", "`type` of an event whose payload has none")
	config.DurationVar(fs, &m.TTL, "ttl", 0, 0, channels.MaxDuration, "age beyond which the event is not delivered; 0s: none")
	loader := config.NewLoader(fs, redisSettings...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, _, err := loader.Resolve(p.environ)
		if err != nil {
			return err
		}
		m.Channel = args[0]
		if err := channels.CheckName(m.Channel); err != nil {
			return usagef("%v", err)
		}
		if m.Payload, err = payload(args[1], cmd.InOrStdin()); err != nil {
			return err
		}
		position, err := publish(cmd.Context(), cfg, m)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(p.out, position)
		return err
	}
	return cmd
}

// payload returns the argument, or what it stands for.
func payload(arg string, stdin io.Reader) (string, error) {
	if arg == "-" {
		text, err := io.ReadAll(io.LimitReader(stdin, maxStdin+1))
		if err != nil {
			return "", fmt.Errorf("read the payload: %w", err)
		}
		if len(text) > maxStdin {
			return "", usagef("the payload is larger than 16 MiB")
		}
		arg = string(text)
	}
	if !utf8.ValidString(arg) {
		return "", usagef("the payload is not UTF-8")
	}
	return arg, nil
}

func publish(ctx context.Context, cfg *config.Config, m redisbus.Message) (channels.Position, error) {
	publisher, err := openPublisher(cfg)
	if err != nil {
		return channels.Position{}, err
	}
	// What was published is published, whatever closing says.
	defer func() { _ = publisher.Close() }()
	at, err := publisher.Publish(ctx, m)
	if errors.Is(err, redisbus.ErrInvalid) {
		return channels.Position{}, usagef("%v", err)
	}
	return at, err
}

// redisSettings are what a command needs that calls the gateway's functions in
// Redis.
var redisSettings = []string{"redis-url", "redis-ca-file", "redis-cert-file", "redis-key-file", "redis-prefix", "config"}

func openPublisher(cfg *config.Config) (*redisbus.Publisher, error) {
	if cfg.RedisURL == "" {
		return nil, usagef("there is no Redis to call: set --redis-url or GATEWAY_REDIS_URL")
	}
	publisher, err := redisbus.NewPublisher(redisbus.PublisherOptions{URL: cfg.RedisURL, TLS: redisTLS(cfg), Prefix: cfg.RedisPrefix})
	if err != nil {
		return nil, usagef("%v", err)
	}
	return publisher, nil
}
