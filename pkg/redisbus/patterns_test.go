package redisbus

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"realtime-gateway/pkg/channels"
)

// globMatch is Redis' matching of Pub/Sub patterns (stringmatchlen), word by
// word.
func globMatch(pattern, s string) bool {
	for len(pattern) > 0 {
		switch pattern[0] {
		case '*':
			for i := 0; i <= len(s); i++ {
				if globMatch(pattern[1:], s[i:]) {
					return true
				}
			}
			return false
		case '?':
			if len(s) == 0 {
				return false
			}
			s = s[1:]
		case '[':
			if len(s) == 0 {
				return false
			}
			pattern = pattern[1:]
			not := len(pattern) > 0 && pattern[0] == '^'
			if not {
				pattern = pattern[1:]
			}
			match := false
			for len(pattern) > 0 && pattern[0] != ']' {
				switch {
				case pattern[0] == '\\' && len(pattern) >= 2:
					pattern = pattern[1:]
					match = match || pattern[0] == s[0]
				case len(pattern) >= 3 && pattern[1] == '-':
					lo, hi := min(pattern[0], pattern[2]), max(pattern[0], pattern[2])
					match = match || s[0] >= lo && s[0] <= hi
					pattern = pattern[2:]
				default:
					match = match || pattern[0] == s[0]
				}
				pattern = pattern[1:]
			}
			if match == not {
				return false
			}
			s = s[1:]
		case '\\':
			if len(pattern) >= 2 {
				pattern = pattern[1:]
			}
			fallthrough
		default:
			if len(s) == 0 || pattern[0] != s[0] {
				return false
			}
			s = s[1:]
		}
		if len(pattern) > 0 {
			pattern = pattern[1:]
		}
	}
	return len(s) == 0
}

func TestGlobMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"a*", "abc", true}, {"a*", "b", false}, {"[^g]*", "a", true}, {"[^g]*", "g", false}, {"g[^w]*", "g", false}, {"g[^w]*", "ga", true},
		{"gw[^:.]*", "gw:", false}, {"gw[^:.]*", "gwx", true}, {`a\*`, "a*", true}, {`a\*`, "ab", false}, {"[a-c]", "b", true}, {"", "", true}, {"", "a", false},
	} {
		if got := globMatch(tt.pattern, tt.s); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.s, got)
		}
	}
}

func TestRecordPatterns(t *testing.T) {
	for _, tt := range []struct {
		policies []string // with history, unless after a "-"
		want     []string
	}{
		{nil, nil},
		{[]string{"-status:*"}, nil},
		{[]string{"orders"}, []string{"orders"}},
		{[]string{"project:*:tasks", "project:**"}, []string{"project:*"}},
		{[]string{"project:42", "project:*"}, []string{"project:*"}},
		{[]string{"a", "a:**", "a:b"}, []string{"a", "a:*"}},
		{[]string{"a", "-b:*", "c:{sub}"}, []string{"a", "c:*"}},
		{[]string{"a:**", "**"}, []string{"[^g]*", "g", "g[^w]*", "gw", "gw[^:.]*"}},
		{[]string{"*:tasks"}, []string{"[^g]*", "g", "g[^w]*", "gw", "gw[^:.]*"}},
		{[]string{"gw:**", "gw.x", "gw.y:*", "gw", "gwx:*"}, []string{"gw", "gwx:*"}},
	} {
		got := recordPatterns(historyPolicies(t, tt.policies), keys{"gw"})
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.policies, got, tt.want)
		}
	}
}

func historyPolicies(t testing.TB, sources []string) channels.Policies {
	var list []channels.Policy
	for _, s := range sources {
		size := 10
		if s[0] == '-' {
			s, size = s[1:], 0
		}
		list = append(list, channels.Policy{Pattern: patternOf(t, s), HistorySize: size})
	}
	return policiesOf(t, list...)
}

// checkPatterns checks what recordPatterns promises, for one name.
func checkPatterns(t *testing.T, policies channels.Policies, k keys, patterns []string, name string) {
	t.Helper()
	var matching []string
	for _, p := range patterns {
		if globMatch(p, name) {
			matching = append(matching, p)
		}
	}
	policy := policies.For(name)
	switch {
	case len(matching) > 1:
		t.Errorf("%q comes %d times, by %q", name, len(matching), matching)
	case k.own(name) && len(matching) > 0:
		t.Errorf("%q is the gateway's own, and heard by %q", name, matching)
	case !k.own(name) && channels.CheckName(name) == nil && policy != nil && policy.History() && len(matching) == 0:
		t.Errorf("%q has history and matches none of %q", name, patterns)
	}
}

func TestRecordPatternsHearEachNameOnce(t *testing.T) {
	segments := []string{"a", "b", "g", "gw", "gwx", "gw.x", "*", "{sub}", "gx", "x-"}
	names := []string{"a", "b", "g", "gw", "gwx", "gw.x", "gw.recorded", "gx", "x-", "x"}
	random := rand.New(rand.NewPCG(1, 2))
	join := func(list []string, n int) (s string) {
		for i := range n {
			if i > 0 {
				s += ":"
			}
			s += list[random.IntN(len(list))]
		}
		return s
	}
	for range 3000 {
		var sources []string
		for range 1 + random.IntN(5) {
			s := join(segments, 1+random.IntN(3))
			switch random.IntN(4) {
			case 0:
				s += ":**"
			case 1:
				if random.IntN(5) == 0 {
					s = "**"
				}
			case 2:
				s = "-" + s
			}
			sources = append(sources, s)
		}
		policies := historyPolicies(t, sources)
		k := keys{[]string{"gw", "g", "a", "x-1"}[random.IntN(4)]}
		patterns := recordPatterns(policies, k)
		for range 50 {
			checkPatterns(t, policies, k, patterns, join(names, 1+random.IntN(4)))
		}
		for _, own := range []string{k.recorded(), k.replicas(), k.probe("X"), k.stream("a"), k.stream("a:b"), k.prefix, k.prefix + "x", k.prefix[:1]} {
			checkPatterns(t, policies, k, patterns, own)
		}
		if t.Failed() {
			t.Fatalf("policies %q, prefix %q", sources, k.prefix)
		}
	}
}

func FuzzRecordPatterns(f *testing.F) {
	f.Add("a:**", "**", "gw", "gw:a")
	f.Add("*:b", "a", "g", "g.x")
	f.Add("gw:*", "{sub}", "gw", "gw:x")
	f.Fuzz(func(t *testing.T, one, two, prefix, name string) {
		if len(prefix) > 32 || !validPrefix(prefix) {
			return
		}
		var list []channels.Policy
		for _, s := range []string{one, two} {
			if p, err := channels.ParsePattern(s); err == nil {
				list = append(list, channels.Policy{Pattern: p, HistorySize: 1})
			}
		}
		policies := policiesOf(t, list...)
		k := keys{prefix}
		checkPatterns(t, policies, k, recordPatterns(policies, k), name)
	})
}

// validPrefix is what the configuration allows.
func validPrefix(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != ""
}

func TestRank(t *testing.T) {
	live := make([]string, 7)
	for i := range live {
		live[i] = fmt.Sprintf("gateway-%d", i)
	}
	firsts, seconds := make(map[string]int), make(map[string]int)
	const patterns = 2000
	for i := range patterns {
		pattern := fmt.Sprintf("channel-%d:*", i)
		order := make([]string, len(live))
		for _, r := range live {
			place := rank(pattern, r, live)
			if order[place] != "" {
				t.Fatalf("%s and %s are both number %d", order[place], r, place)
			}
			order[place] = r
		}
		// All agree, whatever order the list comes in, and whether or not they
		// are in it yet.
		shuffled := slices.Clone(live)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for place, r := range order {
			if got := rank(pattern, r, shuffled); got != place {
				t.Fatalf("%s is number %d and %d", r, place, got)
			}
			if got := rank(pattern, r, slices.DeleteFunc(slices.Clone(live), func(s string) bool { return s == r })); got != place {
				t.Fatalf("%s is number %d in the list, and %d outside", r, place, got)
			}
		}
		firsts[order[0]]++
		seconds[order[1]]++
		// One that goes moves nobody but those behind it.
		for gone := range order {
			left := slices.DeleteFunc(slices.Clone(live), func(s string) bool { return s == order[gone] })
			for place, r := range order {
				want := place
				if place == gone {
					continue
				}
				if place > gone {
					want--
				}
				if got := rank(pattern, r, left); got != want {
					t.Fatalf("without number %d, number %d is %d", gone, place, got)
				}
			}
		}
	}
	for _, r := range live {
		for what, n := range map[string]int{"first": firsts[r], "second": seconds[r]} {
			if mean := patterns / len(live); n < mean*7/10 || n > mean*13/10 {
				t.Errorf("%s is %s for %d of %d patterns, want about %d", r, what, n, patterns, mean)
			}
		}
	}
	if got := rank("a", "alone", nil); got != 0 {
		t.Errorf("the only replica is number %d", got)
	}
}
