package origin

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Pattern selects origins: one, or all subdomains of a domain.
type Pattern struct {
	scheme     string // with ://
	host       string // with the port where it is not the scheme's own
	subdomains bool   // any depth below host, and not host itself
}

// Form is what Parse takes, for people.
const Form = "an origin such as https://app.example.com, http://localhost:3000 or https://*.example.com (its subdomains of any depth)"

// Parse reads a pattern. The error says what is wrong and does not repeat s.
func Parse(s string) (Pattern, error) {
	switch s {
	case "*", "https://*", "http://*":
		return Pattern{}, errors.New("is a bare *, which would let the pages of every site use the cookies of their visitors: name the origins")
	case "null":
		return Pattern{}, errors.New("is null, which is the origin of any sandboxed page")
	}
	scheme, rest, ok := strings.Cut(strings.ToLower(s), "://")
	if !ok || scheme != "https" && scheme != "http" {
		return Pattern{}, errors.New("does not begin with https:// or http://")
	}
	if strings.ContainsAny(rest, "/?#@") {
		return Pattern{}, errors.New("has more than scheme, host and port")
	}
	p := Pattern{scheme: scheme + "://"}
	rest, p.subdomains = strings.CutPrefix(rest, "*.")
	host, port, err := split(rest)
	switch {
	case err != nil:
		return Pattern{}, err
	case p.subdomains && !strings.Contains(host, ".") && host != "localhost":
		return Pattern{}, errors.New("takes the subdomains of a whole top-level domain")
	case p.subdomains && isIP(host):
		return Pattern{}, errors.New("takes the subdomains of an address, which has none")
	}
	p.host = host
	// Browsers leave the scheme's own port out.
	if port != "" && !(scheme == "https" && port == "443" || scheme == "http" && port == "80") {
		p.host = host + ":" + port
	}
	return p, nil
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// split takes host and port apart; an IPv6 address keeps its brackets.
func split(s string) (host, port string, err error) {
	host = s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return "", "", errors.New("has a port that is none")
		}
	}
	if inside, ok := strings.CutPrefix(host, "["); ok {
		inside, closed := strings.CutSuffix(inside, "]")
		if a, err := netip.ParseAddr(inside); err != nil || !closed || !a.Is6() || a.Zone() != "" {
			return "", "", errors.New("has an address that is none")
		}
		return host, port, nil
	}
	if !isName(host) {
		return "", "", errors.New("has no host, or one with signs that no host has; * stands only before the first dot, and other scripts are written as xn--")
	}
	return host, port, nil
}

// isName tells whether s is made of labels as hosts have them, in lower case.
func isName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// Match tells whether the pattern selects an origin as a browser sends it.
func (p Pattern) Match(origin string) bool {
	rest, ok := strings.CutPrefix(origin, p.scheme)
	if !ok || !p.subdomains {
		return ok && rest == p.host
	}
	below, ok := strings.CutSuffix(rest, "."+p.host)
	return ok && isName(below)
}

// List is the origins that are allowed. The zero value allows none.
type List []Pattern

// ParseList reads patterns. The error is that of the first bad one.
func ParseList(texts []string) (List, error) {
	var l List
	for _, text := range texts {
		p, err := Parse(text)
		if err != nil {
			return nil, err
		}
		l = append(l, p)
	}
	return l, nil
}

// Allows tells whether an origin as a browser sends it is in the list. "null"
// and what is no origin never are.
func (l List) Allows(origin string) bool {
	for _, p := range l {
		if p.Match(origin) {
			return true
		}
	}
	return false
}

// HostOf returns the host of an origin as a browser sends it, with its port
// where it has one, and the scheme; or nothing where s is no such origin.
func HostOf(s string) (scheme, host string) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme != "https" && scheme != "http" {
		return "", ""
	}
	if _, _, err := split(rest); err != nil {
		return "", ""
	}
	return scheme, rest
}

// IsLoopback tells whether a host, with or without a port, is this machine: by
// an address of loopback or the name localhost.
func IsLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	if len(host) > 2 && host[0] == '[' {
		host = host[1 : len(host)-1]
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
