package config

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// hidden stands for what is not shown.
const hidden = "[hidden]"

// RedactURL returns a URL without what may be secret in it: the password, and
// query values. What is not a URL is hidden as a whole. It is meant for Redis
// URLs with many hosts, too, which net/url does not read.
func RedactURL(raw string) string {
	if raw == "" {
		return ""
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || !isScheme(scheme) {
		return hidden
	}
	// Up to the last "@", wherever it is: a password with a bare "/", "?" or
	// "@" makes a wrong URL, and must not be shown for that.
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, _, hasPassword := strings.Cut(rest[:i], ":")
		if hasPassword && isHost(user) {
			rest = user + ":" + hidden + rest[i:]
		} else {
			rest = hidden + rest[i:]
		}
	}
	rest, _, hasFragment := strings.Cut(rest, "#")
	rest, query, hasQuery := strings.Cut(rest, "?")
	if hasQuery {
		rest += "?" + redactQuery(query)
	}
	if hasFragment {
		rest += "#" + hidden
	}
	return scheme + "://" + rest
}

// redactQuery keeps the values that are numbers, durations or switches: no
// password should be one, and they are what one looks for.
func redactQuery(query string) string {
	parts := strings.Split(query, "&")
	for i, part := range parts {
		key, val, ok := strings.Cut(part, "=")
		lower := strings.ToLower(key)
		if !ok {
			parts[i] = hidden
			continue
		}
		_, errDuration := parseDuration(val)
		_, errBool := strconv.ParseBool(val)
		_, errInt := strconv.ParseUint(val, 10, 16)
		plain := errDuration == nil || errBool == nil || errInt == nil
		if !plain || strings.Contains(lower, "pass") || strings.Contains(lower, "secret") || strings.Contains(lower, "token") || strings.ContainsRune(lower, '%') {
			parts[i] = key + "=" + hidden
		}
	}
	return strings.Join(parts, "&")
}

func isScheme(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// redisURLValue names a Redis, Sentinels or a Cluster.
type redisURLValue struct{ p *string }

func (v redisURLValue) String() string   { return *v.p }
func (v redisURLValue) Type() string     { return "string" }
func (v redisURLValue) Redacted() string { return RedactURL(*v.p) }
func (v redisURLValue) Allowed() string {
	return "redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,HOST:PORT/MASTER or redis+cluster://HOST:PORT,HOST:PORT, " +
		"with USER:PASSWORD@ before the first host where needed, and rediss for TLS"
}
func (v redisURLValue) Set(s string) error {
	if s != "" {
		if err := checkRedisURL(s); err != nil {
			return errors.New(err.Error() + ": " + notAllowed(v).Error())
		}
	}
	*v.p = s
	return nil
}

// checkRedisURL looks at the form by hand, because net/url refuses several
// hosts with ports. Its errors repeat nothing of the URL.
func checkRedisURL(raw string) error {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return errors.New("there is no scheme")
	}
	secure, kind, _ := strings.Cut(scheme, "+")
	if secure != "redis" && secure != "rediss" || strings.HasSuffix(scheme, "+") || kind != "" && kind != "sentinel" && kind != "cluster" {
		return errors.New("the scheme is unknown")
	}
	if strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }) {
		return errors.New("there is a space, a control character or a # (in user and password write %20 for a space and %23 for #)")
	}
	authority, path, query := rest, "", ""
	authority, query, _ = strings.Cut(authority, "?")
	authority, path, _ = strings.Cut(authority, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if _, err := url.PathUnescape(authority[:i]); err != nil {
			return errors.New("user and password are not percent-encoded")
		}
		authority = authority[i+1:]
	}
	hosts := strings.Split(authority, ",")
	if kind == "" && len(hosts) > 1 {
		return errors.New("there are several hosts, which takes redis+sentinel or redis+cluster")
	}
	for _, h := range hosts {
		if !isHostPort(h) {
			return errors.New("a host or a port is missing or wrong (are user and password percent-encoded?)")
		}
	}
	if _, err := url.ParseQuery(query); err != nil {
		return errors.New("the query is not percent-encoded")
	}
	return checkRedisPath(kind, path)
}

func checkRedisPath(kind, path string) error {
	isDB := func(s string) bool { return isPort(s, 0) }
	switch kind {
	case "sentinel":
		master, db, hasDB := strings.Cut(path, "/")
		if master == "" {
			return errors.New("the name of the master is missing")
		}
		if hasDB && db != "" && !isDB(db) {
			return errors.New("the database is not a number")
		}
	case "cluster":
		if path != "" && path != "0" {
			return errors.New("a Cluster has only database 0")
		}
	default:
		if path != "" && !isDB(path) {
			return errors.New("the database is not a number")
		}
	}
	return nil
}

// isHostPort tells whether s is a host, or an IPv6 address in brackets, with
// or without a port.
func isHostPort(s string) bool {
	if inside, ok := strings.CutPrefix(s, "["); ok {
		host, port, closed := strings.Cut(inside, "]")
		addr, err := netip.ParseAddr(host)
		return closed && err == nil && addr.Is6() && (port == "" || port[0] == ':' && isPort(port[1:], 1))
	}
	host, port, hasPort := strings.Cut(s, ":")
	return isHost(host) && (!hasPort || isPort(port, 1))
}

// webURLValue is a URL to fetch. User and password may be part of it.
type webURLValue struct{ p *string }

func (v webURLValue) String() string   { return *v.p }
func (v webURLValue) Type() string     { return "string" }
func (v webURLValue) Redacted() string { return RedactURL(*v.p) }
func (v webURLValue) Allowed() string  { return "a URL that begins with https:// or http://" }
func (v webURLValue) Set(s string) error {
	if s != "" {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
			return notAllowed(v)
		}
	}
	*v.p = s
	return nil
}
