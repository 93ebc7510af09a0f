package config

import (
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"realtime-gateway/pkg/channels"
)

// How streams are written to.
const (
	PathAuto      = "auto"      // by loops where the connection can be taken over, else as PathGoroutine
	PathGoroutine = "goroutine" // by a goroutine for each stream
)

// What a page of another site can do with the session cookie: the values of its
// attribute SameSite.
const (
	SameSiteStrict = "strict"
	SameSiteLax    = "lax"
	SameSiteNone   = "none"
)

// Config is the gateway's configuration. Its renderings (String, GoString,
// LogValue, MarshalJSON) show no secrets; the fields do.
type Config struct {
	// Dev runs the gateway by itself on loopback: embedded Redis, no token
	// needed, channels that anyone may use.
	Dev bool
	// DevRights has Dev ask for tokens, and decide by them, as without it.
	DevRights bool
	// Addr is where browsers connect.
	Addr string
	// OpsAddr is where health, metrics and connections are served.
	OpsAddr string
	// OpsAddrSet tells whether anybody chose OpsAddr. Where nobody did, Dev
	// may take a free port instead.
	OpsAddrSet bool
	// RedisURL says which Redis, Sentinels or Cluster to use. It may hold a
	// password: see RedactURL. Empty only with Dev.
	RedisURL string
	// RedisCAFile names a PEM file with the certificates that a Redis with TLS is
	// verified by. Empty means the system's.
	RedisCAFile string
	// RedisCertFile and RedisKeyFile name PEM files with the client certificate
	// for a Redis with TLS and its key. Both are empty, or neither.
	RedisCertFile, RedisKeyFile string
	// RedisPrefix begins every key and Redis channel of this gateway.
	RedisPrefix string
	// RedisLinks is how many subscription connections share the channels of one
	// Redis. Zero means as many as the CPUs suggest.
	RedisLinks int
	// RedisDeafAfter is how long a subscription connection may be silent, not
	// even hearing its own probes, before it is made anew.
	RedisDeafAfter time.Duration
	// ConfigFile is the YAML file that was read, or empty.
	ConfigFile string
	// ReplicaName is what the replica's name begins with; empty means the host's.
	ReplicaName string
	// DrainTime is how long a leaving replica takes to close its streams.
	DrainTime time.Duration
	// ReadyGrace is how long a replica stays ready while Redis cannot be reached,
	// and up to as long again; 0 means as long as it is away.
	ReadyGrace time.Duration
	// LogLevel is the least severe level that is logged.
	LogLevel slog.Level
	// LogFormat is "text" or "json".
	LogFormat string

	// JWTSecret verifies HS256, HS384 and HS512 tokens. Empty means none.
	JWTSecret string
	// JWTPublicKeyFile names a PEM file whose key verifies RS*, PS*, ES* and
	// EdDSA tokens. Empty means none.
	JWTPublicKeyFile string
	// JWKSURL is where the keys that verify tokens are published. Empty means
	// none.
	JWKSURL string
	// JWTIssuer is the "iss" that a token must have. Empty means any.
	JWTIssuer string
	// JWTAudience is an "aud" that a token must have. Empty means any.
	JWTAudience string
	// TokenCookie is the name of the cookie that may carry the token.
	TokenCookie string
	// CookieSameSite is SameSiteStrict, SameSiteLax or SameSiteNone.
	CookieSameSite string
	// AllowedOrigins are the origins, beside the gateway's own, whose pages may
	// use it; see package origin.
	AllowedOrigins []string

	// TLSCertFile and TLSKeyFile name PEM files with the certificate chain and
	// its key. Both are empty where Addr serves plain HTTP.
	TLSCertFile, TLSKeyFile string
	// MaxHeaderBytes is about how large the head of a request may be.
	MaxHeaderBytes int
	// ReadHeaderTimeout is how long the head of a request, and the TLS handshake
	// before it, may take.
	ReadHeaderTimeout time.Duration
	// IdleTimeout is how long a connection is kept between two requests.
	IdleTimeout time.Duration

	// WebhookURL is where the application is asked who may use a channel. It
	// may hold a password: see RedactURL. Empty means none.
	WebhookURL string
	// WebhookSecret signs these questions. Empty only without WebhookURL.
	WebhookSecret string
	// WebhookTimeout is how long one attempt to ask may take.
	WebhookTimeout time.Duration

	// Heartbeat is how long a stream may be silent.
	Heartbeat time.Duration
	// WriteTimeout is how long a client may take no bytes before its
	// connection is closed.
	WriteTimeout time.Duration
	// StreamPath is PathAuto or PathGoroutine.
	StreamPath string
	// Linger is how long a channel without subscribers stays subscribed in
	// Redis.
	Linger time.Duration
	// CheckInterval is how often the tops of active channels are compared
	// with Redis.
	CheckInterval time.Duration
	// MaxPayload is the size in bytes of the largest payload that is accepted.
	MaxPayload int
	// MaxConnections is how many streams and polls there may be at a time. Zero
	// means as many as the open files allow.
	MaxConnections int
	// MaxConnectionsPerUser is how many of them one user may have. Zero means half
	// of MaxConnections, or 20,000 where that is more.
	MaxConnectionsPerUser int
	// MaxConnectionsPerAddress is how many of them one address may have. Zero
	// means no limit, as in the rates that follow.
	MaxConnectionsPerAddress int
	// MaxSubscribeRatePerUser and MaxSubscribeRatePerAddress are how many streams,
	// polls and history requests a second there may be.
	MaxSubscribeRatePerUser, MaxSubscribeRatePerAddress int
	// MaxPublishRatePerUser and MaxPublishRatePerAddress are how many events a
	// second may be published over HTTP.
	MaxPublishRatePerUser, MaxPublishRatePerAddress int
	// TrustedProxies are the addresses and networks whose X-Forwarded-For is
	// believed; see ProxyNetworks.
	TrustedProxies []string
	// MaxConnectionAge is how long a stream lasts at most, a fifth more or less.
	// Zero means for ever.
	MaxConnectionAge time.Duration
	// MaxChannels is how many channels one connection may have.
	MaxChannels int
	// AutoSubscribe are the channels.Templates of what every connection joins.
	AutoSubscribe []string
	// LogMemory is how many bytes the channels' logs may hold in memory
	// together. Zero leaves it to what the process may use.
	LogMemory int
	// Pprof serves /debug/pprof on OpsAddr.
	Pprof bool

	// Channels are the channel policies; the first match wins.
	Channels channels.Policies

	sources       map[string]Source // by Setting.Name; absent means default
	policySources []Source          // beside Channels
	channelsSet   bool              // the file has channels, perhaps an empty list
}

// String lists every setting on one line, without secrets.
func (c Config) String() string {
	var b strings.Builder
	b.WriteString("config{")
	for i, e := range c.Effective() {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(e.Setting.Name + "=" + e.Value)
	}
	b.WriteByte('}')
	return b.String()
}

// GoString is String, so that %#v shows no secrets either.
func (c Config) GoString() string { return c.String() }

// LogValue groups every setting by its name, without secrets.
func (c Config) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, e := range c.Effective() {
		attrs = append(attrs, slog.String(e.Setting.Name, e.Value))
	}
	return slog.GroupValue(append(attrs, slog.Int("channels", len(c.Channels)))...)
}

// MarshalJSON writes every setting as text under its YAML key, without
// secrets.
func (c Config) MarshalJSON() ([]byte, error) {
	out := map[string]string{}
	for _, e := range c.Effective() {
		out[e.Setting.YAML] = e.Value
	}
	return json.Marshal(out)
}
