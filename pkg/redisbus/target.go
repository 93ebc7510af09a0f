package redisbus

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// target is what a Redis URL names: one server, a master watched by
// Sentinels, or a cluster.
type target struct {
	single   *redis.Options
	sentinel *redis.FailoverOptions
	cluster  *redis.ClusterOptions
}

// Timeouts of commands. A Redis that does not answer for longer counts as
// away.
const (
	dialTimeout = 3 * time.Second
	ioTimeout   = 3 * time.Second
	poolSize    = 32
)

// parseURL reads redis://, rediss://, redis+sentinel://H1:P1,H2:P2/MASTER and
// redis+cluster://H1:P1,H2:P2, each also with rediss for TLS and with
// USER:PASSWORD@ before the first host, which are for Redis; Sentinels that have
// their own take them from the parameters sentinel_username and
// sentinel_password. Errors never hold the URL, which may hold a password.
func parseURL(raw string) (*target, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, fmt.Errorf("redis URL has no scheme: use redis://HOST:PORT/DB, redis+sentinel://H1:P1,H2:P2/MASTER or redis+cluster://H1:P1,H2:P2")
	}
	if strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz+") != "" {
		return nil, fmt.Errorf("redis URL has a wrong scheme: allowed are redis, rediss, redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster")
	}
	// Otherwise a part of the password would be read, and shown, as something else.
	if i := strings.IndexAny(rest, "/?#"); i >= 0 && strings.Contains(rest[i:], "@") {
		return nil, fmt.Errorf("redis URL has an @ behind one of / ? #: in passwords write %%40 %%2F %%3F %%23 for @ / ? #")
	}
	base, kind, _ := strings.Cut(scheme, "+")
	if base != "redis" && base != "rediss" {
		return nil, fmt.Errorf("redis URL has the scheme %q: allowed are redis, rediss, redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster", scheme)
	}
	if kind == "" {
		o, err := redis.ParseURL(raw)
		if err != nil {
			return nil, fmt.Errorf("redis URL: %s", withoutURL(err, raw))
		}
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, ioTimeout, ioTimeout
		o.DialerRetries, o.PoolSize, o.PipelinePoolSize = 1, poolSize, -1
		o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol = true, true, 2
		o.MaintNotificationsConfig = noNotifications()
		return &target{single: o}, nil
	}
	// Several hosts do not fit into a URL's authority: the first stays, the
	// others become the addr parameters that go-redis reads.
	userinfo, hosts := "", rest
	path := ""
	if i := strings.IndexAny(hosts, "/?"); i >= 0 {
		hosts, path = hosts[:i], hosts[i:]
	}
	if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
		userinfo, hosts = hosts[:i+1], hosts[i+1:]
	}
	addrs := strings.Split(hosts, ",")
	query := url.Values{}
	for _, a := range addrs[1:] {
		query.Add("addr", a)
	}
	path, given, _ := strings.Cut(path, "?")
	switch kind {
	case "sentinel":
		master := strings.Trim(path, "/")
		master, db, _ := strings.Cut(master, "/")
		if master == "" || addrs[0] == "" {
			return nil, fmt.Errorf("redis URL: redis+sentinel needs hosts and the master's name: redis+sentinel://H1:P1,H2:P2/MASTER")
		}
		query.Set("master_name", master)
		params, err := url.ParseQuery(given)
		if err != nil {
			return nil, fmt.Errorf("redis URL: its parameters cannot be parsed")
		}
		user, password := params.Get("sentinel_username"), params.Get("sentinel_password")
		params.Del("sentinel_username")
		params.Del("sentinel_password")
		given = params.Encode()
		text := base + "://" + userinfo + addrs[0] + "/" + db + "?" + join(query.Encode(), given)
		o, err := redis.ParseFailoverURL(text)
		if err != nil {
			return nil, fmt.Errorf("redis URL: %s", withoutURL(err, text))
		}
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, ioTimeout, ioTimeout
		o.DialerRetries, o.PoolSize = 1, poolSize
		o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol = true, true, 2
		// go-redis reads the user and password of a Sentinel URL as the Sentinels'.
		o.Username, o.Password = o.SentinelUsername, o.SentinelPassword
		o.SentinelUsername, o.SentinelPassword = user, password
		return &target{sentinel: o}, nil
	case "cluster":
		if addrs[0] == "" {
			return nil, fmt.Errorf("redis URL: redis+cluster needs hosts: redis+cluster://H1:P1,H2:P2")
		}
		text := base + "://" + userinfo + addrs[0] + "?" + join(query.Encode(), given)
		o, err := redis.ParseClusterURL(text)
		if err != nil {
			return nil, fmt.Errorf("redis URL: %s", withoutURL(err, text))
		}
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, ioTimeout, ioTimeout
		o.DialerRetries, o.PoolSize = 1, poolSize
		o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol = true, true, 2
		o.MaintNotificationsConfig = noNotifications()
		return &target{cluster: o}, nil
	}
	return nil, fmt.Errorf("redis URL has the scheme %q: allowed are redis, redis+sentinel, redis+cluster", scheme)
}

func noNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

func join(a, b string) string { return strings.Trim(a+"&"+b, "&") }

// withoutURL removes what may hold a password from an error's text.
func withoutURL(err error, raw string) string {
	text := strings.ReplaceAll(err.Error(), raw, "the URL")
	if u, parseErr := url.Parse(raw); parseErr == nil && u.User != nil {
		if password, ok := u.User.Password(); ok && password != "" {
			text = strings.ReplaceAll(text, password, "xxxxx")
		}
	} else if parseErr != nil {
		return "it cannot be parsed"
	}
	return text
}

// client returns a client for commands.
func (t *target) client() redis.UniversalClient {
	switch {
	case t.sentinel != nil:
		return redis.NewFailoverClient(t.sentinel)
	case t.cluster != nil:
		return redis.NewClusterClient(t.cluster)
	}
	return redis.NewClient(t.single)
}

// clustered tells whether keys are spread over several masters.
func (t *target) clustered() bool { return t.cluster != nil }

// clusterNode is how to reach one node of the cluster.
func (t *target) clusterNode(addr string) *redis.Options {
	return &redis.Options{
		Addr: addr, Username: t.cluster.Username, Password: t.cluster.Password, TLSConfig: t.cluster.TLSConfig,
	}
}
