package channels

import (
	"errors"
	"slices"
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
		pattern, channel string
		claims           string // such as sub=alice,team=red,team=blue
		want             bool
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
		{"user:{sub}", "user:alice", "sub=alice", true},
		{"user:{sub}", "user:bob", "sub=alice", false},
		{"user:{sub}", "user:alice", "", false},
		{"user:{sub}", "user:alice", "Sub=alice", false},
		{"user:{sub}", "user:{sub}", "sub={sub}", false},
		{"user:{sub}", "user:*", "sub=*", false}, // no such name can exist; the subject is no pattern
		{"user:{sub}", "user:bob", "sub=*", false},
		{"user:{sub}", "user:", "sub=", false},
		{"user:{sub}:**", "user:a:b", "sub=a:b", false},
		{"team:{team}", "team:red", "team=red", true},
		{"team:{team}", "team:blue", "team=red,team=blue", true},
		{"team:{team}", "team:green", "team=red,team=blue", false},
		{"team:{team}", "team:red", "sub=red,teams=red", false},
		{"team:{team}:**", "team:red:a:b", "team=red", true},
		{"team:{team}:**", "team:red", "team=red", false},
		{"team:{team}:*:{sub}", "team:red:x:alice", "team=red,sub=alice", true},
		{"team:{team}:*:{sub}", "team:red:x:bob", "team=red,sub=alice", false},
		{"{a}:{a}", "x:y", "a=x,a=y", true},
		{"{A-Z_09-}", "x", "A-Z_09-=x", true},
	} {
		if got := pattern(t, tt.pattern).Match(tt.channel, holder(tt.claims)); got != tt.want {
			t.Errorf("%q matches %q for %q: %v, want %v", tt.pattern, tt.channel, tt.claims, got, tt.want)
		}
	}
	if pattern(t, "user:{sub}").Match("user:alice", nil) || !pattern(t, "user:*").Match("user:alice", nil) {
		t.Error("nobody has a claim, or lacks a wildcard")
	}
	if (Pattern{}).MatchAnyone("a") {
		t.Error("the zero pattern matches something")
	}
}

// holder reads claims such as sub=alice,team=red,team=blue.
func holder(claims string) func(claim, value string) bool {
	list := strings.Split(claims, ",")
	return func(claim, value string) bool { return slices.Contains(list, claim+"="+value) }
}

// Rights are asked for each channel of each connection.
func TestPatternMatchDoesNotAllocate(t *testing.T) {
	p, holds := pattern(t, "team:{team}:*:{sub}:**"), func(claim, value string) bool { return claim == "team" && value == "red" || value == "alice" }
	if n := testing.AllocsPerRun(100, func() {
		if !p.Match("team:red:x:alice:inbox", holds) || !p.MatchAnyone("team:a:b:c:d") {
			t.Fatal("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParsePatternRefuses(t *testing.T) {
	for _, s := range []string{"", ":", "a::b", "**:a", "a*", "*a", "***", "a b", "a\n", strings.Repeat("a", 256)} {
		if p, err := ParsePattern(s); err == nil {
			t.Errorf("ParsePattern(%q) = %q, want an error", s, p)
		}
	}
	for _, s := range []string{"{}", "a:{sub", "sub}", "x{sub}", "{sub}x", "{{sub}}", "{a}{b}", "{a.b}", "{a b}", "{ü}", "{*}", "{a\nb}", "{" + strings.Repeat("a", 65) + "}"} {
		if p, err := ParsePattern(s); err == nil || !strings.Contains(err.Error(), "is no placeholder: allowed is a whole segment such as {sub}") || strings.Contains(err.Error(), "\n") {
			t.Errorf("ParsePattern(%q) = %q, %v, want an error that says what a placeholder is", s, p, err)
		}
	}
	if _, err := ParsePattern("{" + strings.Repeat("a", 64) + "}"); err != nil {
		t.Error(err)
	}
}

func TestPatternSegments(t *testing.T) {
	for source, want := range map[string]string{"a:b": "a:b", "a:*:**": "a:*:**", "**": "**", "a:{sub}:{team}:b": "a:*:*:b"} {
		if got := strings.Join(pattern(t, source).Segments(), ":"); got != want {
			t.Errorf("the segments of %q are %q, want %q", source, got, want)
		}
	}
	if got := (Pattern{}).Segments(); got != nil {
		t.Errorf("the zero pattern has the segments %q", got)
	}
}

func TestPatternPrefix(t *testing.T) {
	for source, want := range map[string]struct {
		prefix string
		exact  bool
	}{
		"a:b": {"a:b", true}, "a:*": {"a:", false}, "a:**": {"a:", false}, "*": {"", false}, "**": {"", false},
		"a:{sub}:b": {"a:", false}, "a:{team}": {"a:", false}, "a": {"a", true},
	} {
		prefix, exact := pattern(t, source).Prefix()
		if prefix != want.prefix || exact != want.exact {
			t.Errorf("%q: prefix %q, exact %v", source, prefix, exact)
		}
	}
}

// reference matches by the words of the contract, segment by segment.
func reference(pattern, channel []string, holds func(claim, value string) bool) bool {
	if len(pattern) == 1 && pattern[0] == "**" {
		return len(channel) > 0
	}
	if len(pattern) == 0 || len(channel) == 0 {
		return len(pattern) == len(channel)
	}
	ok := pattern[0] == "*" || pattern[0] == channel[0] || pattern[0][0] == '{' && holds(strings.Trim(pattern[0], "{}"), channel[0])
	return ok && reference(pattern[1:], channel[1:], holds)
}

func FuzzPattern(f *testing.F) {
	f.Add("project:*:tasks", "project:42:tasks", "")
	f.Add("user:{sub}:**", "user:alice:x:y", "sub=alice")
	f.Add("team:{teams}:{sub}", "team:blue:alice", "sub=alice,teams=red,teams=blue")
	f.Add("{a-b}:{sub", "x:y", "a-b=x")
	f.Add("**", "a", "")
	f.Add("a:b", "a:b:c", "")
	f.Fuzz(func(t *testing.T, source, channel, claims string) {
		p, err := ParsePattern(source)
		if err != nil || CheckName(channel) != nil {
			return
		}
		if p.String() != source {
			t.Errorf("pattern %q became %q", source, p)
		}
		segments := strings.Split(channel, ":")
		got, want := p.Match(channel, holder(claims)), reference(strings.Split(source, ":"), segments, holder(claims))
		if got != want {
			t.Errorf("%q matches %q for %q: %v, want %v", source, channel, claims, got, want)
		}
		anyone := p.MatchAnyone(channel)
		if got && !anyone || !p.HasPlaceholder() && got != anyone || p.HasPlaceholder() && p.Match(channel, nil) {
			t.Errorf("%q matches %q for %q: %v, for anyone: %v, for nobody: %v", source, channel, claims, got, anyone, p.Match(channel, nil))
		}
		if lookup, err := ParsePattern(strings.Join(p.Segments(), ":")); err != nil || lookup.MatchAnyone(channel) != anyone {
			t.Errorf("the segments of %q match another way: %q, %v", source, p.Segments(), err)
		}
		prefix, exact := p.Prefix()
		if anyone && (!strings.HasPrefix(channel, prefix) || exact && channel != prefix) {
			t.Errorf("%q matches %q, which does not begin with its prefix %q", source, channel, prefix)
		}
	})
}
