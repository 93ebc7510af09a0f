package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"realtime-gateway/internal/origin"
	"realtime-gateway/pkg/channels"
)

// minSecret is the size of an HS256 key that RFC 7518 section 3.2 asks for: "a
// key of the same size as the hash output … or larger MUST be used".
const minSecret = 32

// devPolicies lets anyone use any channel, with some history to look at.
func devPolicies() channels.Policies {
	public := func(pattern string, ttl time.Duration) channels.Policy {
		p, err := channels.ParsePattern(pattern)
		if err != nil {
			panic(err)
		}
		return channels.Policy{Pattern: p, HistorySize: 1000, HistoryTTL: ttl, Subscribe: channels.AccessPublic}
	}
	list, err := channels.NewPolicies([]channels.Policy{public("project:demo:tasks", 24*time.Hour), public("**", time.Hour)})
	if err != nil {
		panic(err)
	}
	return list
}

// applyDev replaces the defaults that are others with --dev.
func (c *Config) applyDev() {
	dev := Source{Name: "--" + nameDev}
	for i := range registry {
		s := &registry[i]
		if _, set := c.sources[s.Name]; set || s.DevDefault == "" {
			continue
		}
		if err := s.bind(c).Set(s.DevDefault); err != nil {
			panic("config: default of " + s.Name + " with --dev: " + err.Error())
		}
		c.sources[s.Name] = dev
	}
	if !c.channelsSet {
		c.Channels = devPolicies()
		c.policySources = []Source{dev, dev}
	}
}

// check tells how the values fit together.
func (c *Config) check() (warnings []string, err error) {
	if c.Dev {
		err = c.checkDev()
	} else {
		err = c.checkServing()
	}
	if err != nil {
		return nil, err
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		is, lacks := nameTLSCert, nameTLSKey
		if c.TLSCertFile == "" {
			is, lacks = lacks, is
		}
		return nil, errorf(c.where(is), "is set without %s: TLS takes both, plain HTTP neither", lacks)
	}
	if err := c.checkRedisTLS(); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(c.Addr)
	if c.Addr == c.OpsAddr && port != "0" {
		return nil, errorf(c.where(nameOpsAddr), "is %q, the same as %s: each needs a port of its own", c.OpsAddr, c.where(nameAddr))
	}
	if len(c.Channels) == 0 {
		warnings = append(warnings, "there are no channel policies, so every channel is refused: set channels in the file of --config")
	}
	if n := len(c.JWTSecret); n > 0 {
		if n < minSecret && !c.Dev {
			warnings = append(warnings, c.where(nameJWTSecret)+" is shorter than 32 bytes, and may be guessed")
		}
		warnings = append(warnings, c.blank(nameJWTSecret, c.JWTSecret)...)
	}
	webhook, err := c.checkWebhook()
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, webhook...)
	warnings = append(warnings, c.checkPolicies()...)
	return append(warnings, c.checkAutoSubscribe()...), nil
}

// blank warns of white space around a secret.
func (c *Config) blank(name, secret string) (warnings []string) {
	if strings.TrimSpace(secret) != secret {
		warnings = append(warnings, c.where(name)+" begins or ends with white space, which is part of the secret")
	}
	return warnings
}

// checkWebhook tells how the settings of the webhook fit together. Whether the
// secret has a form that can sign is for who signs with it.
func (c *Config) checkWebhook() (warnings []string, err error) {
	if c.WebhookURL == "" {
		if c.WebhookSecret != "" {
			warnings = append(warnings, c.where(nameWebhookSecret)+" signs nothing: there is no --"+nameWebhookURL)
		}
		return warnings, nil
	}
	warnings = c.blank(nameWebhookSecret, c.WebhookSecret)
	if c.WebhookSecret == "" {
		return nil, errorf(c.where(nameWebhookURL), "is set, and nothing signs the questions: set --webhook-secret or GATEWAY_WEBHOOK_SECRET")
	}
	if u, err := url.Parse(c.WebhookURL); err == nil && u.Scheme == "http" && !origin.IsLoopback(u.Host) {
		warnings = append(warnings, c.where(nameWebhookURL)+" is without TLS: who can change the answers on the way decides who may use a channel")
	}
	return warnings, nil
}

func (c *Config) checkServing() error {
	if c.RedisURL == "" {
		return errorf("", "there is no Redis: set --redis-url or GATEWAY_REDIS_URL, or try --dev")
	}
	verifies := c.JWTSecret != "" || c.JWTPublicKeyFile != "" || c.JWKSURL != ""
	for i, p := range c.Channels {
		if needsToken(p) && !verifies {
			return errorf("", "the channels %s (%v) take a token, and nothing verifies one: set one of --jwt-secret, --jwt-public-key-file and --jwks-url, "+
				"or GATEWAY_JWT_SECRET, GATEWAY_JWT_PUBLIC_KEY_FILE, GATEWAY_JWKS_URL", p.Pattern, c.policySources[i])
		}
		for _, right := range []struct {
			key    string
			access channels.Access
		}{{keyAccess, p.Subscribe}, {keyPublish, p.Publish}} {
			if right.access == channels.AccessWebhook && c.WebhookURL == "" {
				return errorf("", "the channels %s (%v) have %s: webhook, and no webhook is configured: set --webhook-url or GATEWAY_WEBHOOK_URL", p.Pattern, c.policySources[i], right.key)
			}
		}
	}
	return nil
}

// needsToken tells whether a policy is of no use to those without a token.
// Publishing by token is the default, and where nothing verifies one it means
// nobody.
func needsToken(p *channels.Policy) bool {
	switch p.Subscribe {
	case channels.AccessToken, channels.AccessAuthenticated:
		return true
	}
	return p.Pattern.HasPlaceholder() || p.Publish == channels.AccessAuthenticated
}

// checkRedisTLS refuses files for TLS that would be ignored: what somebody meant
// to be encrypted must not go in the open.
func (c *Config) checkRedisTLS() error {
	for _, f := range []struct{ name, value string }{{nameRedisCA, c.RedisCAFile}, {nameRedisCert, c.RedisCertFile}, {nameRedisKey, c.RedisKeyFile}} {
		if f.value != "" && !strings.HasPrefix(c.RedisURL, "rediss") {
			return errorf(c.where(f.name), "is set, and the Redis URL asks for no TLS: begin it with rediss, as in rediss://HOST:PORT")
		}
	}
	switch {
	case c.RedisCertFile != "" && c.RedisKeyFile == "":
		return errorf(c.where(nameRedisCert), "is set without --%s: a client certificate needs both", nameRedisKey)
	case c.RedisKeyFile != "" && c.RedisCertFile == "":
		return errorf(c.where(nameRedisKey), "is set without --%s: a client certificate needs both", nameRedisCert)
	}
	return nil
}

// checkDev keeps a gateway that asks nobody for a token from the network.
func (c *Config) checkDev() error {
	for _, a := range []struct{ name, addr string }{{nameAddr, c.Addr}, {nameOpsAddr, c.OpsAddr}} {
		if !origin.IsLoopback(a.addr) {
			return errorf(c.where(a.name), "is %q: with --dev, allowed is a loopback address, such as 127.0.0.1:8080, [::1]:8080 or localhost:8080", a.addr)
		}
	}
	if c.TLSCertFile != "" {
		return errorf(c.where(nameTLSCert), "is set: with --dev everything is plain HTTP on loopback")
	}
	return nil
}

// checkPolicies warns of policies that hardly mean what they say.
func (c *Config) checkPolicies() (warnings []string) {
	for i, p := range c.Channels {
		at := c.policySources[i].String()
		for j := range i {
			if covers(c.Channels[j].Pattern, p.Pattern) {
				warnings = append(warnings, at+" never applies: "+c.Channels[j].Pattern.String()+" ("+c.policySources[j].String()+") matches first whatever "+p.Pattern.String()+" matches")
				break
			}
		}
	}
	return warnings
}

// covers tells whether every channel of q is one of p's, whoever asks.
func covers(p, q channels.Pattern) bool {
	ps, qs := p.Segments(), q.Segments()
	for i, segment := range ps {
		switch {
		case i >= len(qs):
			return false
		case segment == "**":
			return true
		case qs[i] == "**":
			return false
		case segment == "*":
		case segment != qs[i]:
			return false
		}
	}
	return len(ps) == len(qs)
}

// checkAutoSubscribe warns of entries that nobody will ever be joined to.
func (c *Config) checkAutoSubscribe() (warnings []string) {
	for _, text := range c.AutoSubscribe {
		t, err := channels.ParseTemplate(text)
		if err != nil {
			continue // not one that was Set
		}
		if !slices.ContainsFunc(c.Channels, func(p *channels.Policy) bool { return meets(p.Pattern, t.Pattern()) }) {
			warnings = append(warnings, c.where(nameAutoSubscribe)+" has "+text+", which matches no channel policy: nobody is joined to it")
		}
	}
	return warnings
}

// meets tells whether a channel of q, which has no **, is one of p's, whoever
// asks.
func meets(p, q channels.Pattern) bool {
	ps, qs := p.Segments(), q.Segments()
	for i, segment := range ps {
		switch {
		case i >= len(qs):
			return false
		case segment == "**":
			return true
		case segment != "*" && qs[i] != "*" && segment != qs[i]:
			return false
		}
	}
	return len(ps) == len(qs)
}
