package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestListValue(t *testing.T) {
	short := func(s string) error {
		if len(s) > 3 {
			return errors.New("is too long")
		}
		return nil
	}
	for _, tt := range []struct {
		text string
		want []string
		bad  bool
	}{
		{"", nil, false},
		{"a", []string{"a"}, false},
		{"a, b,c", []string{"a", "b", "c"}, false},
		{"a,,b", nil, true},
		{"a,", nil, true},
		{"a b", nil, true},
		{"a,long", nil, true},
		{"a\nb", nil, true},
	} {
		var got []string
		v := listValue{&got, "a word", short}
		err := v.Set(tt.text)
		if (err != nil) != tt.bad || !slices.Equal(got, tt.want) {
			t.Errorf("Set(%q): %q, %v; want %q", tt.text, got, err, tt.want)
		}
		if err != nil && tt.text == "a,long" && !strings.Contains(err.Error(), "number 2 is too long") {
			t.Errorf("Set(%q): the error %q does not say which element", tt.text, err)
		}
		if err == nil && v.Set(v.String()) != nil {
			t.Errorf("%q does not read what it writes", tt.text)
		}
	}
}

func TestListInAFile(t *testing.T) {
	old := registry
	t.Cleanup(func() { registry = old })
	// A list is bound to a field of its own here.
	list := func(*Config) value { return listValue{&[]string{}, "a word", nil} }
	registry = append(slices.Clone(registry), declare(decl{"words", "", "", "words", list})...)
	for text, want := range map[string]string{
		"words: a, b":          "a, b",
		"words: [a, b]":        "a,b",
		"words:\n  - a\n  - b": "a,b",
		"words: []":            "",
	} {
		f, err := parseFile("f", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if len(f.settings) != 1 || f.settings[0].text != want {
			t.Errorf("%q: %+v, want %q", text, f.settings, want)
		}
	}
	for _, text := range []string{"words: [a, [b]]", "words: [a, ~]", "words: ['a,b']", "words: {a: b}", "words: [' ']"} {
		if _, err := parseFile("f", []byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
