package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/config"
)

// maxTokenTTL is what a token signed by hand may live: who needs longer wants
// one without an end, which --ttl 0s says plainly.
const maxTokenTTL = 10 * 366 * 24 * time.Hour

func (p *program) tokenCommand() *cobra.Command {
	var g auth.Grant
	var extra []string
	cmd := &cobra.Command{
		Use:   "token --sub USER [--subscribe PATTERN]… [--publish PATTERN]… [--claim NAME=VALUE]…",
		Short: "Sign a token for a user",
		Long: "Signs a token with the shared secret and prints it. Patterns are those of the channel policies:\n" +
			"* is one segment, ** the rest, {sub} the user, {claim} a value of that claim.",
		Example: "  GATEWAY_JWT_SECRET=… gateway token --sub alice --subscribe 'project:*:tasks'\n" +
			"  GATEWAY_JWT_SECRET=… gateway token --sub alice --subscribe 'team:{teams}:**' --claim 'teams=[\"red\",\"blue\"]'",
		Args: exactly(),
	}
	fs := cmd.Flags()
	fs.StringVar(&g.Subject, "sub", "", "the `user`")
	fs.StringArrayVar(&g.Subscribe, "subscribe", nil, "`pattern` of channels to read; may be repeated")
	fs.StringArrayVar(&g.Publish, "publish", nil, "`pattern` of channels to publish to; may be repeated")
	config.DurationVar(fs, &g.TTL, "ttl", time.Hour, 0, maxTokenTTL, "how long the token is valid; 0s: for ever")
	fs.StringArrayVar(&extra, "claim", nil, "further claim, as `name=value`, for placeholders; JSON that is a string, number, boolean or list, else text; may be repeated")
	fs.StringVar(&g.ID, "id", "", "the token's own `id` (jti) (default random)")
	loader := config.NewLoader(fs, "jwt-secret", "jwt-issuer", "jwt-audience", "config")
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, _, err := loader.Resolve(p.environ)
		if err != nil {
			return err
		}
		if cfg.JWTSecret == "" {
			return usagef("there is no secret to sign with: set --jwt-secret or GATEWAY_JWT_SECRET")
		}
		if g.Subject == "" && len(g.Subscribe) == 0 && len(g.Publish) == 0 {
			return usagef("the token would say nothing: set --sub, --subscribe or --publish")
		}
		if g.Claims, err = parseClaims(extra); err != nil {
			return err
		}
		g.Issuer, g.Audience = cfg.JWTIssuer, cfg.JWTAudience
		if g.ID == "" {
			g.ID = rand.Text()
		}
		token, err := auth.Sign(cfg.JWTSecret, g, time.Now())
		if err != nil {
			return keyError(err, cfg)
		}
		_, err = fmt.Fprintln(p.out, token)
		return err
	}
	return cmd
}

// authFlags are the flags behind the fields that package auth complains about.
var authFlags = map[string]string{
	"Secret": "jwt-secret", "PublicKeyFile": "jwt-public-key-file", "JWKSURL": "jwks-url", "Subject": "sub", "ID": "id", "TTL": "ttl",
	"Subscribe": "subscribe", "Publish": "publish", "Claims": "claim",
}

// parseClaims reads what --claim says.
func parseClaims(list []string) (map[string]any, error) {
	claims := make(map[string]any, len(list))
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usagef("flag --claim is %q: allowed is name=value, such as team=red or 'teams=[\"red\",\"blue\"]'", text)
		}
		if _, twice := claims[name]; twice {
			return nil, usagef("flag --claim sets %q twice: for several values use a list, such as 'teams=[\"red\",\"blue\"]'", name)
		}
		claims[name] = claimValue(value)
	}
	return claims, nil
}

// claimValue reads JSON that placeholders, or people who try things, may want
// in a claim, and takes anything else for text.
func claimValue(text string) any {
	var v any
	if json.Unmarshal([]byte(text), &v) == nil {
		switch v.(type) {
		case string, float64, bool, []any:
			return json.RawMessage(text) // as it is: a number may have more digits than a float64
		}
	}
	return text
}

// keyError names a field that package auth complains about as people know it.
func keyError(err error, cfg *config.Config) error {
	var wrong *auth.SettingError
	if !errors.As(err, &wrong) {
		return err
	}
	name := authFlags[wrong.Setting]
	source := cfg.Source(name)
	switch {
	case name == "":
		return usagef("%s: %v", wrong.Setting, wrong.Err)
	case source.Origin == config.FromDefault: // a flag of this command
		return usagef("flag --%s: %v", name, wrong.Err)
	}
	return usagef("config: %s (%v): %v", name, source, wrong.Err)
}
