package config

import "strings"

// didYouMean returns ", did you mean X?" for the name closest to given, or
// nothing where none is close. Case, "-" and "_" do not count, so that the
// flag's spelling leads to the file's.
func didYouMean(given string, names []string) string {
	if c := Closest(given, names); c != "" {
		return ", did you mean " + c + "?"
	}
	return ""
}

// Closest returns the name that given is most likely a misspelling of, or "".
func Closest(given string, names []string) string {
	given = fold(given)
	best, bestDistance := "", 1+len(given)/4
	if bestDistance > 4 {
		bestDistance = 4
	}
	for _, name := range names {
		folded := fold(name)
		if d := len(folded) - len(given); d > bestDistance || -d > bestDistance {
			continue
		}
		if d := distance(given, folded); d < bestDistance || d == bestDistance && best == "" {
			best, bestDistance = name, d
		}
	}
	return best
}

var separators = strings.NewReplacer("-", "", "_", "")

func fold(s string) string { return strings.ToLower(separators.Replace(s)) }

// distance counts the bytes to insert, delete, replace or swap with their
// neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	before := make([]int, len(b)+1)
	last := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
