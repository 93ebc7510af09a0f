package channels

import (
	"fmt"
	"strings"
)

// Pattern selects channels by name, segment by segment: "*" stands for one
// segment, "**" as last segment for one or more, a placeholder such as "{sub}"
// for one segment that is a value of that claim of the asking user's token,
// anything else for itself. The zero Pattern matches nothing. Values are
// immutable and safe for concurrent use.
type Pattern struct {
	source       string
	segments     []segment
	rest         bool // ends in "**", which is not among the segments
	placeholders bool // has at least one
}

// segment is one of a Pattern's.
type segment struct {
	kind segmentKind
	text string // what stands there, or a placeholder's claim
}

type segmentKind uint8

const (
	literal segmentKind = iota
	wildcard
	placeholder
)

const (
	anySegment   = "*"
	restSegments = "**"
	// maxClaimLen is the length in bytes of the longest claim that a placeholder
	// can name.
	maxClaimLen = 64
)

// ParsePattern reads a pattern; the error says which segment is wrong.
func ParsePattern(source string) (Pattern, error) {
	if source == "" {
		return Pattern{}, fmt.Errorf("pattern is empty")
	}
	if len(source) > MaxNameLen {
		return Pattern{}, fmt.Errorf("pattern has %d bytes, allowed are %d", len(source), MaxNameLen)
	}
	p := Pattern{source: source}
	texts := strings.Split(source, ":")
	p.segments = make([]segment, 0, len(texts))
	for i, text := range texts {
		switch {
		case text == "":
			return Pattern{}, fmt.Errorf("pattern %q: segment %d is empty", source, i+1)
		case text == anySegment:
			p.segments = append(p.segments, segment{wildcard, text})
		case text == restSegments:
			if i != len(texts)-1 {
				return Pattern{}, fmt.Errorf("pattern %q: ** is only allowed as the last segment", source)
			}
			p.rest = true
		case strings.ContainsAny(text, "{}"):
			claim, ok := claimOf(text)
			if !ok {
				return Pattern{}, fmt.Errorf("pattern %q: segment %q is no placeholder: allowed is a whole segment such as {sub}, with a claim of 1 to %d of A-Z a-z 0-9 _ - between the braces", source, text, maxClaimLen)
			}
			p.segments = append(p.segments, segment{placeholder, claim})
			p.placeholders = true
		case !IsSegment(text):
			return Pattern{}, fmt.Errorf("pattern %q: segment %q is neither *, **, a placeholder such as {sub} nor made of A-Z a-z 0-9 . _ ~ @ / + = -", source, text)
		default:
			p.segments = append(p.segments, segment{literal, text})
		}
	}
	return p, nil
}

// claimOf returns the claim that a placeholder names.
func claimOf(text string) (claim string, ok bool) {
	claim, opened := strings.CutPrefix(text, "{")
	claim, closed := strings.CutSuffix(claim, "}")
	if !opened || !closed || len(claim) < 1 || len(claim) > maxClaimLen {
		return "", false
	}
	for i := range len(claim) {
		switch c := claim[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return "", false
		}
	}
	return claim, true
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.source }

// HasPlaceholder tells whether the pattern has a placeholder such as {sub}.
func (p Pattern) HasPlaceholder() bool { return p.placeholders }

// Match tells whether the pattern selects channel for a user of whom holds
// tells whether a claim of theirs has a value. A nil holds is nobody, for whom
// no placeholder matches. It is not kept.
func (p Pattern) Match(channel string, holds func(claim, value string) bool) bool {
	return p.match(channel, holds, false)
}

// MatchAnyone is Match with placeholders standing for any segment: it tells
// whose policy a channel has, whoever asks.
func (p Pattern) MatchAnyone(channel string) bool {
	return p.match(channel, nil, true)
}

func (p Pattern) match(channel string, holds func(claim, value string) bool, anyone bool) bool {
	if p.source == "" {
		return false
	}
	rest, more := channel, true
	for i := range p.segments {
		if !more {
			return false
		}
		var got string
		got, rest, more = strings.Cut(rest, ":")
		switch want := &p.segments[i]; want.kind {
		case literal:
			if got != want.text {
				return false
			}
		case placeholder:
			if !anyone && (holds == nil || !IsSegment(got) || !holds(want.text, got)) {
				return false
			}
		}
	}
	return more == p.rest
}

// Prefix returns the literal text that begins every channel the pattern
// selects, and whether it is a whole name, that is, the pattern has neither
// wildcard nor placeholder.
func (p Pattern) Prefix() (prefix string, exact bool) {
	for i, s := range p.segments {
		if s.kind != literal {
			return prefix, false
		}
		prefix += s.text
		if p.rest || i < len(p.segments)-1 {
			prefix += ":"
		}
	}
	return prefix, !p.rest
}

// Segments returns the pattern's segments as MatchAnyone reads them: "*" where
// a placeholder is, "**" included.
func (p Pattern) Segments() []string {
	if p.source == "" {
		return nil
	}
	texts := make([]string, 0, len(p.segments)+1)
	for _, s := range p.segments {
		if s.kind == placeholder {
			s.text = anySegment
		}
		texts = append(texts, s.text)
	}
	if p.rest {
		texts = append(texts, restSegments)
	}
	return texts
}
