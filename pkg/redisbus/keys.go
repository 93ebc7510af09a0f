package redisbus

import (
	"fmt"
	"strings"

	"realtime-gateway/pkg/channels"
)

// DefaultPrefix begins every key unless configured otherwise.
const DefaultPrefix = "gw"

// checkPrefix refuses prefixes that could not stand in a Lua string, a pattern
// and a key alike.
func checkPrefix(prefix string) error {
	if len(prefix) < 1 || len(prefix) > 32 || strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("redis prefix %q: allowed are 1 to 32 of a-z, 0-9 and -", prefix)
	}
	return nil
}

// keys makes every name that the gateway uses in Redis. Beside it only
// gateway.lua makes names, in the same way: {prefix}.seen:{stream}:<event id> and
// {prefix}.plain:{stream}:<digest>.
type keys struct{ prefix string }

// stream is the channel's stream, the key that publishers declare. It is also
// the name under which the channel's events are announced.
func (k keys) stream(channel string) string { return k.prefix + ":" + channel }

// channel is the inverse of stream.
func (k keys) channel(stream string) (string, bool) {
	return strings.CutPrefix(stream, k.prefix+":")
}

// own tells whether a Pub/Sub channel belongs to the gateway itself.
func (k keys) own(name string) bool {
	return strings.HasPrefix(name, k.prefix+":") || strings.HasPrefix(name, k.prefix+".")
}

// check refuses channels whose plain PUBLISH would be one of the gateway's
// own announcements.
func (k keys) check(channel string) error {
	if k.own(channel) {
		return &channels.NameError{Name: channel, Reason: "names beginning with " + k.prefix + ": or " + k.prefix + ". are reserved"}
	}
	return nil
}

func (k keys) recorded() string         { return k.prefix + ".recorded" }
func (k keys) replicas() string         { return k.prefix + ".replicas" }
func (k keys) script() string           { return k.prefix + ".script" }
func (k keys) revoked() string          { return k.prefix + ".revoked" }
func (k keys) user(name string) string  { return k.prefix + ".user:" + name }
func (k keys) probe(link string) string { return k.prefix + ".probe:" + link }
