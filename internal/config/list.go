package config

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// listValue is a list of texts, written with commas between them or, in the
// file, as a YAML list. None has a comma or white space in it.
type listValue struct {
	p     *[]string
	each  string                     // what an element is, for people
	check func(element string) error // nil where any is allowed; never repeats the element
}

func (v listValue) String() string { return strings.Join(*v.p, ",") }
func (v listValue) Type() string   { return "list" }
func (v listValue) Allowed() string {
	return "a list, with commas between, each " + v.each
}

// Set replaces the list. An empty text is an empty list.
func (v listValue) Set(s string) error {
	var list []string
	if strings.TrimSpace(s) != "" {
		list = strings.Split(s, ",")
	}
	for i, element := range list {
		list[i] = strings.TrimSpace(element)
		if list[i] == "" || strings.ContainsFunc(list[i], func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return notAllowed(v)
		}
		if v.check != nil {
			if err := v.check(list[i]); err != nil {
				return errors.New("allowed is " + v.Allowed() + ": number " + strconv.Itoa(i+1) + " " + err.Error())
			}
		}
	}
	*v.p = slices.Clip(list)
	return nil
}

// text returns the value of an entry for Set: a list's elements with commas
// between them, where it is for a list.
func (f *file) text(s *setting, e entry) (string, error) {
	if _, isList := s.bind(&Config{}).(listValue); !isList || e.value.Kind != yaml.SequenceNode {
		return f.scalar(e, s.Allowed)
	}
	var texts []string
	for _, n := range e.value.Content {
		text, err := f.scalar(entry{e.key, n.Line, resolve(n)}, s.Allowed)
		if err != nil {
			return "", err
		}
		if strings.TrimSpace(text) == "" || strings.Contains(text, ",") {
			return "", errorf(f.at(n.Line).of(e.key), "has an element that is empty or has a comma: allowed is %s", s.Allowed)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ","), nil
}
