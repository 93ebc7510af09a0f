package redisbus

import (
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"realtime-gateway/pkg/channels"
)

//go:embed gateway.lua
var source string

// libraryVersion is raised with every change of gateway.lua that replicas of
// the version before could not work with.
const libraryVersion = 3

// keyLife is how long a stream's key outlives its last use: a channel that was
// quiet for less still knows its last position.
const keyLife = 24 * time.Hour

// plainWindow is how long a recorded plain payload is remembered, to tell its
// repetition from another recorder's late record.
const plainWindow = 30 * time.Second

// revocationLife is how long a revocation holds unless its caller says: longer
// than most tokens live.
const revocationLife = 30 * 24 * time.Hour

// How gateway.lua announces: to all nodes of a Cluster, or only to those that
// serve the channel's slot.
const (
	announceEverywhere = "PUBLISH"
	announceInShard    = "SPUBLISH"
)

// The entry points of gateway.lua, by the names of their functions.
const (
	fnPublish    = "gateway_publish"
	fnAnnounce   = "gateway_announce"
	fnLast       = "gateway_last"
	fnLost       = "gateway_lost"
	fnRecord     = "gateway_record"
	fnOpen       = "gateway_open"
	fnJoin       = "gateway_join"
	fnInfo       = "gateway_info"
	fnDisconnect = "gateway_disconnect"
)

var entryPoints = []struct{ function, lua string }{
	{fnPublish, "publish"}, {fnAnnounce, "announce"}, {fnRecord, "record"}, {fnOpen, "open"}, {fnLast, "last"}, {fnLost, "lost"}, {fnJoin, "join"},
	{fnDisconnect, "disconnect"},
}

// library is gateway.lua with a gateway's settings: as a function library and
// as scripts.
type library struct {
	prefix  string
	code    string // settings and source, the same for both
	digest  string // of code
	scripts map[string]script
}

type script struct{ source, sha string }

// newLibrary puts the settings above the source. Its code depends on them
// alone, so replicas of one configuration make the same.
func newLibrary(prefix string, maxPayload int, policies channels.Policies, announce string) *library {
	var b strings.Builder
	fmt.Fprintf(&b, "local PREFIX = %s\n", luaString(prefix))
	fmt.Fprintf(&b, "local ANNOUNCE = %s\n", luaString(announce))
	fmt.Fprintf(&b, "local MAX_PAYLOAD = %d\n", maxPayload)
	fmt.Fprintf(&b, "local REVOCATION_LIFE = %d\n", revocationLife.Milliseconds())
	fmt.Fprintf(&b, "local PLAIN_WINDOW = %d\n", plainWindow.Milliseconds())
	b.WriteString("local POLICIES = {\n")
	for _, p := range policies {
		life := max(keyLife, p.HistoryTTL).Milliseconds()
		fmt.Fprintf(&b, "  {pattern = %s, size = %d, ttl = %d, life = %d, idempotency = %d, ",
			luaString(luaPattern(p.Pattern)), p.HistorySize, p.HistoryTTL.Milliseconds(), life, p.IdempotencyWindow.Milliseconds())
		// As arguments of commands, numbers are cheaper as text.
		fmt.Fprintf(&b, "maxlen = '%d', lives = '%d', window = '%d'},\n", p.HistorySize, life+life/16, p.IdempotencyWindow.Milliseconds())
	}
	b.WriteString("}\n")
	b.WriteString(source)
	l := &library{prefix: prefix, code: b.String(), scripts: make(map[string]script)}
	l.digest = sha1hex(l.code)
	for _, e := range entryPoints {
		// No line end at the end: a shell that passes the source on loses it, and
		// the script would have another digest.
		text := l.code + "return " + e.lua + "(KEYS, ARGV)"
		l.scripts[e.function] = script{source: text, sha: sha1hex(text)}
	}
	return l
}

// identity is of the replica that loads a library: of two configurations that of
// the one started last stays, as long as it lives.
type identity struct {
	stamp   int64  // when it started, by Redis' clock in ms
	replica string // its name among the live ones
}

// functions is the library for FUNCTION LOAD.
func (l *library) functions(by identity) string {
	var b strings.Builder
	b.WriteString("#!lua name=gateway\n")
	b.WriteString(l.code)
	for _, e := range entryPoints {
		// These only write what frees memory or is tiny; they have to work when Redis is full, or nobody could read what it holds.
		flags := ""
		switch e.function {
		case fnOpen, fnJoin, fnLost, fnAnnounce, fnDisconnect:
			flags = "'allow-oom'"
		case fnLast:
			flags = "'no-writes'"
		}
		fmt.Fprintf(&b, "redis.register_function{function_name='%s', callback=%s, flags={%s}}\n", e.function, e.lua, flags)
	}
	fmt.Fprintf(&b, "redis.register_function{function_name='%s', flags={'no-writes'}, callback=function() return '%s' end}\n",
		fnInfo, l.info(by))
	return b.String()
}

// info identifies a loaded library: version, prefix, settings, and who loaded
// it.
func (l *library) info(by identity) string {
	return fmt.Sprintf("%d %s %s %d %s", libraryVersion, l.prefix, l.digest, by.stamp, infoName(by.replica))
}

// infoName is a replica's name as it stands in an info, inside of a Lua string.
func infoName(replica string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || r == '\'' || r == '\\' {
			return '_'
		}
		return r
	}, replica)
}

// outdates tells whether this library should replace the one that gave info.
// gone tells of a replica, by infoName, that it lives no more: what it loaded
// may fit nobody who is left. The error says that it belongs to another
// installation: a Redis has one library of a name, whatever the prefix.
func (l *library) outdates(info string, by identity, gone func(replica string) bool) (bool, error) {
	var version int
	var prefix, digest, replica string
	var loaded int64
	if _, err := fmt.Sscanf(info, "%d %s %s %d", &version, &prefix, &digest, &loaded); err != nil {
		return true, nil
	}
	if fields := strings.Fields(info); len(fields) > 4 {
		replica = fields[4]
	}
	if prefix != l.prefix {
		return false, fmt.Errorf("this Redis serves a gateway with the prefix %q, and cannot serve one with %q beside it: use another Redis, or, if that gateway is gone, FUNCTION DELETE gateway", prefix, l.prefix)
	}
	if version != libraryVersion {
		return version < libraryVersion, nil
	}
	return digest != l.digest && (loaded < by.stamp || replica != "" && gone(replica)), nil
}

// ofNewer tells whether an info is of a newer version of the library than this
// one. Such a library is never replaced, whoever loaded it.
func ofNewer(info string) bool {
	var version int
	_, err := fmt.Sscan(info, &version)
	return err == nil && version > libraryVersion
}

// luaPattern translates a channel pattern; a placeholder stands for any
// segment, because a policy belongs to the channel, whoever asks.
func luaPattern(p channels.Pattern) string {
	segments := p.Segments()
	for i, s := range segments {
		switch {
		case s == "*", s[0] == '{':
			segments[i] = "[^:]+"
		case s == "**":
			segments[i] = ".+"
		default:
			var b strings.Builder
			for _, c := range []byte(s) {
				if strings.IndexByte(".+-", c) >= 0 {
					b.WriteByte('%')
				}
				b.WriteByte(c)
			}
			segments[i] = b.String()
		}
	}
	return "^" + strings.Join(segments, ":") + "$"
}

// luaString quotes s, which has neither quotes nor backslashes: prefixes and
// patterns are checked before.
func luaString(s string) string { return "'" + s + "'" }

func sha1hex(s string) string {
	sum := sha1.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Scripts returns the source of each function of the library as a script, for
// servers that are to call them without having functions.
func (b *Bus) Scripts() map[string]string {
	library := b.library()
	scripts := make(map[string]string, len(library.scripts))
	for name, s := range library.scripts {
		scripts[name] = s.source
	}
	return scripts
}
