package redisbus

import (
	"hash/fnv"
	"slices"
	"strings"

	"realtime-gateway/pkg/channels"
)

// recordPatterns returns the Redis patterns under which recorders hear plain
// payloads of all channels with history. No Pub/Sub channel matches two of
// them, or its messages would come twice: of policies that overlap only the
// shorter literal prefix is taken, and what is heard too much is sorted out by
// policy.
func recordPatterns(policies channels.Policies, k keys) []string {
	exact := make(map[string]bool) // literal text: whether nothing may follow
	for _, p := range policies {
		if !p.History() {
			continue
		}
		text, whole := p.Pattern.Prefix()
		if k.own(text) {
			continue // no channel can be called so
		}
		if was, ok := exact[text]; !ok || was {
			exact[text] = whole
		}
	}
	var patterns []string
	for text, whole := range exact {
		if covered(text, exact) {
			continue
		}
		switch {
		case whole:
			patterns = append(patterns, glob(text))
		case text == "":
			patterns = append(patterns, everythingBut(k.prefix)...)
		default:
			patterns = append(patterns, glob(text)+"*")
		}
	}
	slices.Sort(patterns)
	return patterns
}

// covered tells whether a shorter prefix hears text as well.
func covered(text string, exact map[string]bool) bool {
	for other, whole := range exact {
		if !whole && other != text && strings.HasPrefix(text, other) {
			return true
		}
	}
	return false
}

// everythingBut matches each name but the gateway's own, which begin with the
// prefix and ':' or '.', exactly once.
func everythingBut(prefix string) []string {
	var patterns []string
	for i := range prefix {
		begin := glob(prefix[:i])
		patterns = append(patterns, begin+"[^"+prefix[i:i+1]+"]*")
		if i > 0 {
			patterns = append(patterns, begin)
		}
	}
	return append(patterns, glob(prefix), glob(prefix)+"[^:.]*")
}

// glob escapes text for a Redis pattern.
func glob(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(text)
}

// rank returns the replica's place for a pattern by rendezvous hashing over
// the live replicas: all of them agree on it without talking, and a replica
// that comes or goes moves no other's role than its own. 0 is the first.
func rank(pattern, replica string, live []string) int {
	score := func(name string) uint64 {
		h := fnv.New64a()
		h.Write([]byte(name))
		h.Write([]byte{0})
		h.Write([]byte(pattern))
		// FNV leaves names that differ in the last byte close together.
		x := h.Sum64()
		x ^= x >> 33
		x *= 0xff51afd7ed558ccd
		x ^= x >> 33
		return x
	}
	own, place := score(replica), 0
	for _, other := range live {
		if s := score(other); other != replica && (s > own || s == own && other < replica) {
			place++
		}
	}
	return place
}
