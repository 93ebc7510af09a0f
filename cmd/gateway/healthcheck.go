package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"realtime-gateway/internal/config"
)

// healthcheckTimeout is shorter than what Docker and others give a check.
const healthcheckTimeout = 3 * time.Second

// healthcheckAnswer bounds how much of an answer is shown.
const healthcheckAnswer = 4 << 10

func (p *program) healthcheckCommand() *cobra.Command {
	var ready bool
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the gateway of this machine whether it lives",
		Long: "Asks the operations address whether the process lives, and exits with 0, or with 1 and the reason. It is\n" +
			"for images, which hold no other program to ask with. It finds the address as gateway does, so give that by\n" +
			"environment or file.",
		Args: exactly(),
	}
	cmd.Flags().BoolVar(&ready, "ready", false, "ask whether it is ready for newcomers (/readyz), not only whether it lives (/healthz)")
	loader := config.NewLoader(cmd.Flags(), "ops-addr", "config")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, _, err := loader.Resolve(p.environ)
		if err != nil {
			return err
		}
		path := "/healthz"
		if ready {
			path = "/readyz"
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), healthcheckTimeout)
		defer cancel()
		return askHealth(ctx, cfg.OpsAddr, path)
	}
	return cmd
}

// askHealth returns nil where path of the operations address answers 200.
func askHealth(ctx context.Context, addr, path string) error {
	// The dialer takes an address without a host, or 0.0.0.0, as this machine.
	// Proxies of the environment are not for it.
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", path, addr, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, healthcheckAnswer))
	if err != nil {
		return fmt.Errorf("%s of %s: %w", path, addr, err)
	}
	return fmt.Errorf("%s of %s is %d: %s", path, addr, resp.StatusCode, strings.TrimSpace(string(answer)))
}
