package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/config"
	"realtime-gateway/internal/telemetry"
	"realtime-gateway/internal/tlsfiles"
	"realtime-gateway/internal/webhook"
	"realtime-gateway/pkg/redisbus"
)

func (p *program) checkConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check-config",
		Short: "Show the settings that apply, or what is wrong with them",
		Long: "Shows every setting that would apply, with its source and without secrets, and exits with 0;\n" +
			"or shows what is wrong and exits with 2. It takes the flags of gateway and contacts nobody.",
		Args: exactly(),
	}
	loader := config.NewLoader(cmd.Flags())
	cmd.Flags().SortFlags = false
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, warnings, err := loader.Load(p.environ)
		if err != nil {
			return err
		}
		if err := checkSecrets(cmd.Context(), cfg); err != nil {
			return err
		}
		if cfg.TLSCertFile != "" {
			pair, err := tlsfiles.Load(cfg.TLSCertFile, cfg.TLSKeyFile, slog.New(slog.DiscardHandler))
			if err != nil {
				return usagef("config: %v", err)
			}
			if w := pair.Warning(time.Now()); w != "" {
				warnings = append(warnings, w)
			}
		}
		for _, w := range warnings {
			fmt.Fprintf(p.errOut, "gateway: warning: %s\n", oneLine(w))
		}
		return cfg.WriteListing(p.out)
	}
	return cmd
}

// checkRedis reads the files for TLS to Redis.
func checkRedis(cfg *config.Config) error {
	if cfg.RedisURL == "" {
		return nil // the embedded one
	}
	if err := redisbus.CheckTLS(cfg.RedisURL, redisTLS(cfg)); err != nil {
		return usagef("%v", err)
	}
	return nil
}

// checkSecrets tries what cannot be told from the settings' form alone.
func checkSecrets(ctx context.Context, cfg *config.Config) error {
	if err := checkKeys(ctx, cfg); err != nil {
		return err
	}
	if err := checkRedis(cfg); err != nil {
		return err
	}
	if err := telemetryError(telemetry.Check()); err != nil {
		return err
	}
	asks, err := openWebhook(cfg, webhook.Hooks{}, nil)
	if asks != nil {
		asks.Close()
	}
	return err
}

// checkKeys reads the public key, which would stop the start as well. The key
// set behind a URL is left alone: it would not.
func checkKeys(ctx context.Context, cfg *config.Config) error {
	if cfg.JWTSecret == "" && cfg.JWTPublicKeyFile == "" {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, err := auth.New(ctx, auth.Options{Secret: cfg.JWTSecret, PublicKeyFile: cfg.JWTPublicKeyFile})
	return keyError(err, cfg)
}
