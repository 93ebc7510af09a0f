package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"realtime-gateway/internal/config"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
)

func (p *program) disconnectCommand() *cobra.Command {
	r := redisbus.Revocation{}
	var pattern string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "disconnect USER",
		Short: "Take rights back from a user, a token or on a channel",
		Long: "Ends the user's connections on all replicas and has the tokens that gave them refused, or, with\n" +
			"--token, those of one token, or, with --channel, takes only those channels from them. A replica that\n" +
			"is away obeys when it comes back. A token issued later is good again. Prints until when, by Redis'\n" +
			"clock in milliseconds, tokens must have been issued to be concerned.",
		Example: "  gateway disconnect alice --reason 'signed out'\n  gateway disconnect alice --channel 'project:42:**'",
		Args:    exactly("USER"),
	}
	fs := cmd.Flags()
	fs.StringVar(&pattern, "channel", "", "only these channels: a `name`, or a pattern with * and **")
	fs.StringVar(&r.Token, "token", "", "only the token of this `id` (jti)")
	fs.StringVar(&r.Reason, "reason", "", "`text` that the client is told as reason")
	config.DurationVar(fs, &ttl, "ttl", 0, 0, channels.MaxDuration, "how long the tokens concerned live; 0s: 30 days")
	loader := config.NewLoader(fs, redisSettings...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, _, err := loader.Resolve(p.environ)
		if err != nil {
			return err
		}
		r.User = args[0]
		if pattern != "" {
			if r.Channels, err = channels.ParsePattern(pattern); err != nil {
				return usagef("--channel: %v", err)
			}
		}
		if ttl > 0 {
			r.Until = time.Now().Add(ttl)
		}
		publisher, err := openPublisher(cfg)
		if err != nil {
			return err
		}
		defer func() { _ = publisher.Close() }() // what was revoked is revoked
		at, err := publisher.Disconnect(cmd.Context(), r)
		if errors.Is(err, redisbus.ErrInvalid) {
			return usagef("%v", err)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(p.out, at.UnixMilli())
		return err
	}
	return cmd
}
