package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// clientVariables belong to "gateway tail" and "gateway ping"; the server does not read them and
// has no reason to complain about them.
var clientVariables = []string{ClientURLEnv, ClientTokenEnv}

// Environment variables of "gateway tail" and "gateway ping", beside the
// settings.
const (
	ClientURLEnv   = envPrefix + "URL"   // where the gateway is
	ClientTokenEnv = envPrefix + "TOKEN" // the token to show
)

// environment is the variables that begin with envPrefix.
type environment map[string]string

func newEnvironment(environ []string) environment {
	env := environment{}
	for _, pair := range environ {
		name, text, ok := strings.Cut(pair, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) {
			continue
		}
		// The first of two with the same name counts, as for os.Getenv.
		if _, twice := env[name]; !twice {
			env[name] = text
		}
	}
	return env
}

// Kubernetes puts such variables beside every Service, and ours is likely to
// be called "gateway", or "gateway-ops".
var (
	serviceVariable = regexp.MustCompile(`^GATEWAY_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)$`)
	portVariable    = regexp.MustCompile(`^GATEWAY_([A-Z0-9_]+_)?PORT$`)
	portValue       = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// unknown warns of the variables that are no setting, sorted by name. Values
// are not shown: a misspelt secret is one.
func (env environment) unknown() []string {
	known := slices.Clone(clientVariables)
	for _, s := range registry {
		known = append(known, s.Env)
	}
	var warnings []string
	for name, text := range env {
		switch {
		case slices.Contains(known, name):
		case serviceVariable.MatchString(name):
		case portVariable.MatchString(name) && portValue.MatchString(text):
		default:
			hint := didYouMean(strings.TrimPrefix(name, envPrefix), trimPrefixes(known))
			hint = strings.Replace(hint, "did you mean ", "did you mean "+envPrefix, 1)
			if name == envPrefix+"PORT" {
				hint = ", did you mean " + named(nameAddr).Env + "?"
			}
			warnings = append(warnings, fmt.Sprintf("environment variable %s is no setting and is ignored%s", shownKey(name), hint))
		}
	}
	slices.Sort(warnings)
	return warnings
}

func trimPrefixes(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.TrimPrefix(n, envPrefix)
	}
	return out
}

var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

// shownKey shows an unknown name where it looks like one. Otherwise it may be
// a slip around a secret ("jwtSecret:hunter2: x"), and is not shown.
func shownKey(name string) string {
	if plainKey.MatchString(name) {
		return name
	}
	return "(not shown, not a name)"
}
