package channels

import (
	"fmt"
	"strings"
)

// Template is a channel name that may have placeholders, such as "user:{sub}".
// The zero Template has no names. Values are immutable and safe for concurrent
// use.
type Template struct {
	pattern Pattern
}

// ParseTemplate reads a template; the error says what is wrong with it.
func ParseTemplate(source string) (Template, error) {
	p, err := ParsePattern(source)
	if err != nil {
		return Template{}, err
	}
	if p.rest {
		return Template{}, wildcardError(source, restSegments)
	}
	for _, s := range p.segments {
		if s.kind == wildcard {
			return Template{}, wildcardError(source, s.text)
		}
	}
	return Template{p}, nil
}

func wildcardError(source, wildcard string) error {
	return fmt.Errorf("pattern %q: segment %q is a wildcard, and this must name channels: allowed are placeholders such as {sub}", source, wildcard)
}

// Pattern returns the pattern of the channels that the template can name.
func (t Template) Pattern() Pattern { return t.pattern }

// String returns the template as it was written.
func (t Template) String() string { return t.pattern.String() }

// Names returns the channels that the template names for a user of whom values
// returns what a claim holds: with several values one for each, and for several
// placeholders one for each combination. Without a value for a placeholder, or
// where the name would be too long, there is none. Values must be distinct, and
// segments (see IsSegment).
//
// There are at most limit names; all tells whether that is all of them.
func (t Template) Names(values func(claim string) []string, limit int) (names []string, all bool) {
	if t.pattern.source == "" {
		return nil, true
	}
	choices := make([][]string, len(t.pattern.segments))
	count := 1
	for i, s := range t.pattern.segments {
		choices[i] = []string{s.text}
		if s.kind == placeholder {
			choices[i] = values(s.text)
		}
		if len(choices[i]) == 0 {
			return nil, true
		}
		count = min(count*len(choices[i]), limit+1) // before it overflows
	}
	chosen := make([]string, len(choices))
	for n := range min(count, limit) {
		for i, digits := len(choices)-1, n; i >= 0; i-- { // the last choice is the last digit
			chosen[i] = choices[i][digits%len(choices[i])]
			digits /= len(choices[i])
		}
		if name := strings.Join(chosen, ":"); len(name) <= MaxNameLen {
			names = append(names, name)
		}
	}
	return names, count <= limit
}
