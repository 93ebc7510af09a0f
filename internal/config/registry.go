package config

import (
	"math"
	"strings"
	"time"

	"realtime-gateway/internal/origin"
)

// Setting describes one setting, for a reference or a listing.
type Setting struct {
	Name       string // as a flag, without dashes
	Env        string // as an environment variable
	YAML       string // as a key of the file; empty where the file cannot set it
	Default    string // empty means not set
	DevDefault string // with --dev; empty means the same as Default
	Allowed    string // what values there are
	Help       string // one sentence without a full stop
	Secret     bool   // the value, or a part of it, is never shown
	Live       string // what of it changes without a restart, and how; empty means nothing
}

// setting is a Setting and where its value lives.
type setting struct {
	Setting
	bind func(*Config) value
}

// envPrefix begins the name of every environment variable.
const envPrefix = "GATEWAY_"

// The names of settings that the code refers to.
const (
	nameDev       = "dev"
	nameAddr      = "addr"
	nameOpsAddr   = "ops-addr"
	nameConfig    = "config"
	nameJWTSecret = "jwt-secret"

	nameWebhookURL    = "webhook-url"
	nameWebhookSecret = "webhook-secret"
	nameTLSCert       = "tls-cert-file"
	nameTLSKey        = "tls-key-file"
	nameAutoSubscribe = "auto-subscribe"
	nameRedisCA       = "redis-ca-file"
	nameRedisCert     = "redis-cert-file"
	nameRedisKey      = "redis-key-file"
)

// checkOrigin checks an element of allowed-origins.
func checkOrigin(s string) error {
	_, err := origin.Parse(s)
	return err
}

// maxLogMemory is a TiB, or what an int holds.
const maxLogMemory = min(1<<40, math.MaxInt)

// maxRate is a rate, in a second, that no replica reaches.
const maxRate = 1_000_000

// registry is every setting but the channel policies, in the order in which
// people read about them.
var registry = declare(
	decl{nameDev, "false", "", "run with an embedded Redis (unless redis-url is set), on loopback, without tokens: to try it out",
		func(c *Config) value { return boolValue{&c.Dev} }},
	decl{"dev-rights", "false", "", "with --dev, ask for tokens and check rights by them, as without it",
		func(c *Config) value { return boolValue{&c.DevRights} }},
	decl{nameAddr, ":8080", "127.0.0.1:8080", "`address` for browsers",
		func(c *Config) value { return addrValue{&c.Addr} }},
	decl{nameOpsAddr, ":9090", "127.0.0.1:9090", "`address` for health, metrics and the list of connections, which is not for browsers; with --dev a free port where the default one is taken",
		func(c *Config) value { return addrValue{&c.OpsAddr} }},
	decl{"redis-url", "", "", "`URL` of the Redis, the Sentinels or the Cluster; in user and password each character but letters, digits and -._~ percent-encoded, # as %23; Sentinels with a user of their own: ?sentinel_username=…&sentinel_password=…",
		func(c *Config) value { return redisURLValue{&c.RedisURL} }},
	decl{nameRedisCA, "", "", "PEM `file` with the certificates that a Redis with TLS is verified by; empty means the system's",
		func(c *Config) value { return textValue{&c.RedisCAFile} }},
	decl{nameRedisCert, "", "", "PEM `file` with the client certificate for a Redis with TLS",
		func(c *Config) value { return textValue{&c.RedisCertFile} }},
	decl{nameRedisKey, "", "", "PEM `file` with the key of the client certificate",
		func(c *Config) value { return textValue{&c.RedisKeyFile} }},
	decl{"redis-prefix", "gw", "", "`prefix` of all keys and Redis channels",
		func(c *Config) value { return prefixValue{&c.RedisPrefix} }},
	decl{"redis-links", "0", "", "subscription connections that share the channels of one Redis; 0 means one for each 4 CPUs, at most 4. A Cluster has one to each master",
		func(c *Config) value { return intValue{&c.RedisLinks, 0, 16} }},
	decl{"redis-deaf-after", "6s", "", "how long a subscription connection may be silent, not even hearing the probes sent every third of it, before it is made anew",
		func(c *Config) value {
			return durationValue{&c.RedisDeafAfter, 500 * time.Millisecond, 5 * time.Minute}
		}},
	decl{nameConfig, "", "", "YAML `file` with channel policies and further settings",
		func(c *Config) value { return textValue{&c.ConfigFile} }},
	decl{"replica-name", "", "", "what this replica's `name` in events, logs and the list of replicas begins with, before six characters that are new with each start; empty means the host's",
		func(c *Config) value { return nameValue{&c.ReplicaName} }},
	decl{"drain-time", "20s", "1s", "how long a leaving replica takes to close its streams, spread evenly; give the process 10s more before it is killed",
		func(c *Config) value { return durationValue{&c.DrainTime, 0, 10 * time.Minute} }},
	decl{"ready-grace", "0s", "", "how long a replica stays ready while Redis cannot be reached, and up to as long again. 0s means as long as it is away",
		func(c *Config) value { return durationValue{&c.ReadyGrace, 0, 7 * 24 * time.Hour} }},
	decl{"log-level", "info", "", "least severe `level` that is logged",
		func(c *Config) value { return levelValue{&c.LogLevel} }},
	decl{"log-format", "json", "text", "`format` of the log",
		func(c *Config) value { return choiceOf(&c.LogFormat, "text", "json") }},
	decl{nameJWTSecret, "", "", "shared `secret` that verifies HS256, HS384 and HS512 tokens; 32 bytes or more are advised",
		func(c *Config) value { return secretValue{&c.JWTSecret} }},
	decl{"jwt-public-key-file", "", "", "PEM `file` with the key that verifies RS*, PS*, ES* and EdDSA tokens",
		func(c *Config) value { return textValue{&c.JWTPublicKeyFile} }},
	decl{"jwks-url", "", "", "`URL` of the key set that verifies tokens",
		func(c *Config) value { return webURLValue{&c.JWKSURL} }},
	decl{"jwt-issuer", "", "", "`issuer` (iss) that every token must have",
		func(c *Config) value { return textValue{&c.JWTIssuer} }},
	decl{"jwt-audience", "", "", "`audience` (aud) that every token must have",
		func(c *Config) value { return textValue{&c.JWTAudience} }},
	decl{"token-cookie", "gateway_token", "", "`name` of the cookie that may carry the token",
		func(c *Config) value { return cookieValue{&c.TokenCookie} }},
	decl{nameWebhookURL, "", "", "`URL` of the application that is asked who may use a channel",
		func(c *Config) value { return webURLValue{&c.WebhookURL} }},
	decl{nameWebhookSecret, "", "", "`secret` that signs the questions: whsec_ and base64, or plain text, of 24 bytes or more",
		func(c *Config) value { return secretValue{&c.WebhookSecret} }},
	decl{"webhook-timeout", "3s", "", "how long the application may take for one attempt to answer; a question takes 2s more at most",
		func(c *Config) value {
			return durationValue{&c.WebhookTimeout, 100 * time.Millisecond, 30 * time.Second}
		}},
	decl{"cookie-same-site", SameSiteStrict, "", "SameSite `attribute` of the cookie that POST /v1/session sets; none is for pages of other sites in allowed-origins",
		func(c *Config) value { return choiceOf(&c.CookieSameSite, SameSiteStrict, SameSiteLax, SameSiteNone) }},
	decl{"allowed-origins", "", "", "`origins` whose pages may use this gateway, beside its own",
		func(c *Config) value { return listValue{&c.AllowedOrigins, origin.Form, checkOrigin} }},
	decl{nameTLSCert, "", "", "PEM `file` with the certificate chain; with it, and the key, addr speaks TLS and HTTP/2 in place of plain HTTP",
		func(c *Config) value { return textValue{&c.TLSCertFile} }},
	decl{nameTLSKey, "", "", "PEM `file` with the certificate's key",
		func(c *Config) value { return textValue{&c.TLSKeyFile} }},
	decl{"max-header-bytes", "65536", "", "size in `bytes` of the largest head of a request, with tokens and cursors in it; 4 KiB of grace, then 431",
		func(c *Config) value { return intValue{&c.MaxHeaderBytes, 4096, 1 << 20} }},
	decl{"read-header-timeout", "5s", "", "how long the head of a request, and a TLS handshake, may take; it cuts no stream",
		func(c *Config) value { return durationValue{&c.ReadHeaderTimeout, 100 * time.Millisecond, time.Minute} }},
	decl{"idle-timeout", "75s", "", "how long a connection is kept between two requests; it cuts no stream",
		func(c *Config) value { return durationValue{&c.IdleTimeout, 100 * time.Millisecond, time.Hour} }},
	decl{"heartbeat", "20s", "", "how long a stream may be silent, a fifth more or less, before a heartbeat goes out",
		func(c *Config) value { return durationValue{&c.Heartbeat, time.Second, 10 * time.Minute} }},
	decl{"write-timeout", "10s", "", "how long a client may take no bytes before it is closed",
		func(c *Config) value { return durationValue{&c.WriteTimeout, 100 * time.Millisecond, 5 * time.Minute} }},
	decl{"stream-path", PathAuto, "", "`path` of streams: auto has a few loops write to plain HTTP/1 connections (Linux), goroutine has one for each stream, as TLS and HTTP/2 have in any case",
		func(c *Config) value { return choiceOf(&c.StreamPath, PathAuto, PathGoroutine) }},
	decl{"linger", "30s", "", "how long a channel without subscribers stays subscribed in Redis",
		func(c *Config) value { return durationValue{&c.Linger, 0, time.Hour} }},
	decl{"check-interval", "10s", "", "how often active channels are compared with Redis, a fifth more or less: what a lost last announcement may cost",
		func(c *Config) value { return durationValue{&c.CheckInterval, time.Second, time.Hour} }},
	decl{"max-payload", "262144", "", "size in `bytes` of the largest payload, however it is published",
		func(c *Config) value { return intValue{&c.MaxPayload, 1, 16 << 20} }},
	decl{"max-connections", "0", "", "most streams and polls at a time; 0 means as many as the open files allow. Beyond, a stream is told to come back (full), a poll gets 503",
		func(c *Config) value { return intValue{&c.MaxConnections, 0, 10_000_000} }},
	decl{"max-connection-age", "30m", "", "how long a stream lasts at most, a fifth more or less; its client comes back, perhaps to another replica. 0s means for ever",
		func(c *Config) value { return durationValue{&c.MaxConnectionAge, 0, 7 * 24 * time.Hour} }},
	decl{"max-connections-per-user", "0", "", "of these, most of one user (sub of the token); 0 means half of them, or 20000 where that is more",
		func(c *Config) value { return intValue{&c.MaxConnectionsPerUser, 0, 10_000_000} }},
	decl{"max-connections-per-address", "0", "", "of these, most of one client address; 0 means no limit",
		func(c *Config) value { return intValue{&c.MaxConnectionsPerAddress, 0, 10_000_000} }},
	decl{"max-subscribe-rate-per-user", "1000", "", "most streams, polls and history requests a second of one user, and 20 s' worth at once; 0 means no limit",
		func(c *Config) value { return intValue{&c.MaxSubscribeRatePerUser, 0, maxRate} }},
	decl{"max-subscribe-rate-per-address", "0", "", "the same of one client address; 0 means no limit",
		func(c *Config) value { return intValue{&c.MaxSubscribeRatePerAddress, 0, maxRate} }},
	decl{"max-publish-rate-per-user", "1000", "", "most events a second that one user publishes over HTTP, and 20 s' worth at once; 0 means no limit",
		func(c *Config) value { return intValue{&c.MaxPublishRatePerUser, 0, maxRate} }},
	decl{"max-publish-rate-per-address", "0", "", "the same of one client address; 0 means no limit",
		func(c *Config) value { return intValue{&c.MaxPublishRatePerAddress, 0, maxRate} }},
	decl{"trusted-proxies", "", "", "`networks` of the load balancers whose X-Forwarded-For says which address a client has; without it, that is the connection's",
		func(c *Config) value {
			return listValue{&c.TrustedProxies, "an address or a network, such as 192.0.2.7 or 10.0.0.0/8", checkProxies}
		}},
	decl{"max-channels", "200", "", "most channels of one connection",
		func(c *Config) value { return intValue{&c.MaxChannels, 1, 1000} }},
	decl{nameAutoSubscribe, "", "", "`channels` that every connection joins where it may; {sub} or {claim} stands for the token's",
		func(c *Config) value {
			return listValue{&c.AutoSubscribe, "a channel, perhaps with placeholders, such as user:{sub}", checkTemplate}
		}},
	decl{"log-memory", "0", "", "`bytes` of memory for the events of all channels; 0: an eighth of the memory limit, or 256 MiB where there is none",
		func(c *Config) value { return intValue{&c.LogMemory, 0, maxLogMemory} }},
	decl{"pprof", "false", "", "serve /debug/pprof on the ops address",
		func(c *Config) value { return boolValue{&c.Pprof} }},
)

// live says of settings what of them changes while the gateway runs. All the
// others are read once, at the start.
var live = map[string]string{
	"log-level": "by `PUT /loglevel` on the operations port, until the process ends",
	"jwks-url":  "the keys are fetched every 5m, and when a token names one that is not known",
	nameTLSCert: certificateLive,
	nameTLSKey:  certificateLive,
}

const certificateLive = "what is in the file, within 10s or at once on SIGHUP"

type decl struct {
	name, def, dev, help string
	bind                 func(*Config) value
}

func declare(decls ...decl) []setting {
	var out []setting
	for _, d := range decls {
		v := d.bind(&Config{})
		_, secret := v.(secretive)
		s := setting{Setting{
			Name:       d.name,
			Env:        envPrefix + strings.ToUpper(strings.ReplaceAll(d.name, "-", "_")),
			YAML:       camelCase(d.name),
			Default:    d.def,
			DevDefault: d.dev,
			Allowed:    v.Allowed(),
			Help:       d.help,
			Secret:     secret,
			Live:       live[d.name],
		}, d.bind}
		if d.name == nameConfig {
			s.YAML = ""
		}
		out = append(out, s)
	}
	return out
}

// Settings returns every setting but the channel policies, for which see
// ChannelSettings. In Help, a word in back quotes names the value, as in a
// flag's usage.
func Settings() []Setting {
	out := make([]Setting, len(registry))
	for i, s := range registry {
		out[i] = s.Setting
	}
	return out
}

// find returns the setting for which is true, or nil.
func find(is func(*setting) bool) *setting {
	for i := range registry {
		if is(&registry[i]) {
			return &registry[i]
		}
	}
	return nil
}

// named returns the setting of that name, which must exist.
func named(name string) *setting {
	s := find(func(s *setting) bool { return s.Name == name })
	if s == nil {
		panic("config: no setting " + name)
	}
	return s
}

func camelCase(name string) string {
	words := strings.Split(name, "-")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}
