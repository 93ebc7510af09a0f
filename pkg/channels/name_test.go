package channels

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "project:42:tasks": true, "A-z0.9_~@/+=-": true, strings.Repeat("x", 255): true,
		"": false, ":": false, ":a": false, "a:": false, "a::b": false, "a b": false, "a\n": false, "a\x00": false,
		"ü": false, "a*": false, "a{b}": false, strings.Repeat("x", 256): false, "a,b": false, "a%b": false,
	} {
		err := CheckName(name)
		var wrong *NameError
		if ok != (err == nil) || !ok && !errors.As(err, &wrong) {
			t.Errorf("CheckName(%q) = %v, want allowed: %v", name, err, ok)
		}
	}
}

func TestPatternMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, channel, subject string
		want                      bool
	}{
		{"a", "a", "", true},
		{"a", "b", "", false},
		{"a", "a:b", "", false},
		{"project:*:tasks", "project:42:tasks", "", true},
		{"project:*:tasks", "project:42", "", false},
		{"project:*:tasks", "project:42:43:tasks", "", false},
		{"*", "a", "", true},
		{"*", "a:b", "", false},
		{"**", "a", "", true},
		{"**", "a:b:c", "", true},
		{"a:**", "a", "", false},
		{"a:**", "a:b", "", true},
		{"a:**", "a:b:c", "", true},
		{"a:**", "ab:c", "", false},
		{"user:{sub}", "user:alice", "alice", true},
		{"user:{sub}", "user:bob", "alice", false},
		{"user:{sub}", "user:alice", "", false},
		{"user:{sub}", "user:*", "*", true}, // no such name can exist; the subject is no pattern
		{"user:{sub}", "user:bob", "*", false},
		{"user:{sub}:**", "user:a:b", "a:b", false},
	} {
		if got := pattern(t, tt.pattern).Match(tt.channel, tt.subject); got != tt.want {
			t.Errorf("%q matches %q for %q: %v, want %v", tt.pattern, tt.channel, tt.subject, got, tt.want)
		}
	}
	if (Pattern{}).MatchAnyone("a") {
		t.Error("the zero pattern matches something")
	}
}

func TestParsePatternRefuses(t *testing.T) {
	for _, s := range []string{"", ":", "a::b", "**:a", "a*", "*a", "***", "{user}", "a:{sub", "a b", "a\n", strings.Repeat("a", 256)} {
		if p, err := ParsePattern(s); err == nil {
			t.Errorf("ParsePattern(%q) = %q, want an error", s, p)
		}
	}
}

func TestPatternPrefix(t *testing.T) {
	for source, want := range map[string]struct {
		prefix string
		exact  bool
	}{
		"a:b": {"a:b", true}, "a:*": {"a:", false}, "a:**": {"a:", false}, "*": {"", false}, "**": {"", false},
		"a:{sub}:b": {"a:", false}, "a": {"a", true},
	} {
		prefix, exact := pattern(t, source).Prefix()
		if prefix != want.prefix || exact != want.exact {
			t.Errorf("%q: prefix %q, exact %v", source, prefix, exact)
		}
	}
}

// reference matches by the words of the contract, segment by segment.
func reference(pattern, channel []string, subject string) bool {
	if len(pattern) == 1 && pattern[0] == "**" {
		return len(channel) > 0
	}
	if len(pattern) == 0 || len(channel) == 0 {
		return len(pattern) == len(channel)
	}
	ok := pattern[0] == "*" || pattern[0] == channel[0] && pattern[0] != "{sub}" || pattern[0] == "{sub}" && subject != "" && channel[0] == subject
	return ok && reference(pattern[1:], channel[1:], subject)
}

func FuzzPattern(f *testing.F) {
	f.Add("project:*:tasks", "project:42:tasks", "")
	f.Add("user:{sub}:**", "user:alice:x:y", "alice")
	f.Add("**", "a", "")
	f.Add("a:b", "a:b:c", "")
	f.Fuzz(func(t *testing.T, source, channel, subject string) {
		p, err := ParsePattern(source)
		if err != nil || CheckName(channel) != nil {
			return
		}
		if p.String() != source {
			t.Errorf("pattern %q became %q", source, p)
		}
		segments := strings.Split(channel, ":")
		if got, want := p.Match(channel, subject), reference(strings.Split(source, ":"), segments, subject); got != want {
			t.Errorf("%q matches %q for %q: %v, want %v", source, channel, subject, got, want)
		}
		prefix, exact := p.Prefix()
		if p.MatchAnyone(channel) && (!strings.HasPrefix(channel, prefix) || exact && channel != prefix) {
			t.Errorf("%q matches %q, which does not begin with its prefix %q", source, channel, prefix)
		}
	})
}
