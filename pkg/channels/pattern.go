package channels

import (
	"fmt"
	"strings"
)

// Pattern selects channels by name, segment by segment: "*" stands for one
// segment, "**" as last segment for one or more, "{sub}" for one segment that
// equals the subject of the asking user, anything else for itself. The zero
// Pattern matches nothing. Values are immutable and safe for concurrent use.
type Pattern struct {
	source   string
	segments []string
	rest     bool // ends in "**", which is not among the segments
	subject  bool // has a "{sub}"
}

const (
	anySegment     = "*"
	restSegments   = "**"
	subjectSegment = "{sub}"
)

// ParsePattern reads a pattern; the error says which segment is wrong.
func ParsePattern(source string) (Pattern, error) {
	p := Pattern{source: source}
	if source == "" {
		return Pattern{}, fmt.Errorf("pattern is empty")
	}
	if len(source) > MaxNameLen {
		return Pattern{}, fmt.Errorf("pattern has %d bytes, allowed are %d", len(source), MaxNameLen)
	}
	segments := strings.Split(source, ":")
	for i, segment := range segments {
		switch segment {
		case "":
			return Pattern{}, fmt.Errorf("pattern %q: segment %d is empty", source, i+1)
		case anySegment:
		case restSegments:
			if i != len(segments)-1 {
				return Pattern{}, fmt.Errorf("pattern %q: ** is only allowed as the last segment", source)
			}
			p.rest = true
			segments = segments[:i]
		case subjectSegment:
			p.subject = true
		default:
			for j := 0; j < len(segment); j++ {
				if !nameByte(segment[j]) {
					return Pattern{}, fmt.Errorf("pattern %q: segment %q is neither *, **, {sub} nor made of A-Z a-z 0-9 . _ ~ @ / + = -", source, segment)
				}
			}
		}
	}
	p.segments = segments
	return p, nil
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.source }

// HasSubject tells whether the pattern has a {sub} segment.
func (p Pattern) HasSubject() bool { return p.subject }

// Match tells whether the pattern selects channel for the user subject. An
// empty subject (nobody) matches no {sub}.
func (p Pattern) Match(channel, subject string) bool {
	return p.match(channel, func(segment string) bool { return subject != "" && segment == subject })
}

// MatchAnyone is Match with {sub} standing for any segment: it tells whose
// policy a channel has, whoever asks.
func (p Pattern) MatchAnyone(channel string) bool {
	return p.match(channel, func(string) bool { return true })
}

func (p Pattern) match(channel string, isSubject func(string) bool) bool {
	if p.source == "" {
		return false
	}
	rest, more := channel, true
	for _, want := range p.segments {
		if !more {
			return false
		}
		var segment string
		segment, rest, more = strings.Cut(rest, ":")
		switch want {
		case anySegment:
		case subjectSegment:
			if !isSubject(segment) {
				return false
			}
		default:
			if segment != want {
				return false
			}
		}
	}
	return more == p.rest
}

// Prefix returns the literal text that begins every channel the pattern
// selects, and whether it is a whole name, that is, the pattern has no
// wildcard.
func (p Pattern) Prefix() (prefix string, exact bool) {
	for i, segment := range p.segments {
		if segment == anySegment || segment == subjectSegment {
			return prefix, false
		}
		prefix += segment
		if p.rest || i < len(p.segments)-1 {
			prefix += ":"
		}
	}
	return prefix, !p.rest
}

// Segments returns the pattern's segments as written, "**" included.
func (p Pattern) Segments() []string {
	if p.source == "" {
		return nil
	}
	return strings.Split(p.source, ":")
}
