package channels

import (
	"slices"
	"strings"
	"testing"
)

func TestTemplateNames(t *testing.T) {
	claims := map[string][]string{
		"sub": {"alice"}, "team": {"red", "blue"}, "n": {"1", "2", "3"}, "long": {strings.Repeat("a", 200), "b"},
	}
	for _, tt := range []struct {
		template string
		limit    int
		want     string
		all      bool
	}{
		{"broadcast", 9, "broadcast", true},
		{"user:{sub}", 9, "user:alice", true},
		{"{sub}", 9, "alice", true},
		{"team:{team}:chat", 9, "team:red:chat team:blue:chat", true},
		{"team:{team}:chat", 2, "team:red:chat team:blue:chat", true},
		{"team:{team}:chat", 1, "team:red:chat", false},
		{"{team}:{n}", 9, "red:1 red:2 red:3 blue:1 blue:2 blue:3", true},
		{"{team}:{n}", 4, "red:1 red:2 red:3 blue:1", false},
		{"{team}:{team}", 9, "red:red red:blue blue:red blue:blue", true},
		{"a:{nothing}", 9, "", true},
		{"{n}:{n}:{n}:{n}:{nothing}", 1, "", true},
		{"{long}:{long}", 9, strings.Repeat("a", 200) + ":b b:" + strings.Repeat("a", 200) + " b:b", true},
		{strings.Repeat("{n}:", 60) + "{n}", 2, strings.Repeat("1:", 61)[:121] + " " + strings.Repeat("1:", 60) + "2", false},
	} {
		template, err := ParseTemplate(tt.template)
		if err != nil {
			t.Fatal(err)
		}
		names, all := template.Names(func(claim string) []string { return claims[claim] }, tt.limit)
		if got := strings.Join(names, " "); got != tt.want || all != tt.all {
			t.Errorf("%s names %q, all: %v; want %q, %v", tt.template, got, all, tt.want, tt.all)
		}
		for _, name := range names {
			if err := CheckName(name); err != nil {
				t.Error(err)
			}
		}
	}
	if names, all := (Template{}).Names(func(string) []string { return nil }, 1); names != nil || !all {
		t.Errorf("the zero template names %q", names)
	}
}

func TestParseTemplateRefuses(t *testing.T) {
	for source, want := range map[string]string{
		"":        "empty",
		"a:*":     `segment "*" is a wildcard`,
		"a:**":    `segment "**" is a wildcard`,
		"*:{sub}": "is a wildcard",
		"a::b":    "segment 2 is empty",
		"a:{sub":  "is no placeholder",
		"a b":     "is neither",
	} {
		if _, err := ParseTemplate(source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseTemplate(%q): %v, want an error that says %q", source, err, want)
		}
	}
}

// Whatever a template names is a channel that its pattern selects for the same
// user.
func FuzzTemplate(f *testing.F) {
	f.Add("team:{team}:{sub}", "red,blue", "alice", 3)
	f.Add("{sub}:**", "", "a:b", 1)
	f.Fuzz(func(t *testing.T, source, teams, sub string, limit int) {
		template, err := ParseTemplate(source)
		if err != nil || limit < 0 || limit > 1000 {
			return
		}
		claims := map[string][]string{}
		for claim, text := range map[string]string{"team": teams, "sub": sub} {
			for value := range strings.SplitSeq(text, ",") {
				if IsSegment(value) && !slices.Contains(claims[claim], value) {
					claims[claim] = append(claims[claim], value)
				}
			}
		}
		names, _ := template.Names(func(claim string) []string { return claims[claim] }, limit)
		holds := func(claim, value string) bool { return slices.Contains(claims[claim], value) }
		seen := map[string]bool{}
		for _, name := range names {
			if CheckName(name) != nil || !template.Pattern().Match(name, holds) || seen[name] {
				t.Errorf("%q names %q, which is no channel, not its own, or there twice", source, name)
			}
			seen[name] = true
		}
		if len(names) > limit {
			t.Errorf("%d names, want at most %d", len(names), limit)
		}
	})
}
