package config

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// entry is one "key: value" of a mapping.
type entry struct {
	key   string
	line  int
	value *yaml.Node
}

// entries returns what a mapping says, in order, with every key once. Where
// merging is allowed, "<<: *base" adds what base says and the mapping does
// not.
func (f *file) entries(n *yaml.Node, merging bool) ([]entry, error) {
	var out, merged []entry
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := resolve(n.Content[i]), resolve(n.Content[i+1])
		line := n.Content[i].Line
		if key.Kind != yaml.ScalarNode {
			return nil, errorf(f.at(line).String(), "has %s as a key: allowed is a name", kindOf(key))
		}
		if first, twice := lines[key.Value]; twice {
			return nil, errorf(f.at(line).of(shownKey(key.Value)), "is set twice, first in line %d", first)
		}
		lines[key.Value] = line
		if key.ShortTag() == "!!merge" {
			if !merging || val.Kind != yaml.MappingNode {
				return nil, errorf(f.at(line).of("<<"), "is not possible here: allowed is one mapping, merged into an entry of channels")
			}
			var err error
			// One mapping deep keeps the work linear, whatever the file says.
			if merged, err = f.entries(val, false); err != nil {
				return nil, err
			}
			continue
		}
		out = append(out, entry{key.Value, line, val})
	}
	for _, m := range merged {
		if !slices.ContainsFunc(out, func(e entry) bool { return e.key == m.key }) {
			out = append(out, m)
		}
	}
	return out, nil
}

// scalar returns the text of a value, quoted or not. Numbers and switches are
// taken as they are written, so that a value means the same in a file as in a
// flag.
func (f *file) scalar(e entry, allowed string) (string, error) {
	where := f.at(e.line).of(e.key)
	if isNull(e.value) {
		return "", errorf(where, "is empty: allowed is %s", allowed)
	}
	if e.value.Kind != yaml.ScalarNode {
		return "", errorf(where, "is %s: allowed is %s", kindOf(e.value), allowed)
	}
	switch e.value.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		return e.value.Value, nil
	}
	return "", errorf(where, "has a YAML tag of its own: allowed is %s", allowed)
}

// resolve follows an alias. One step is enough, as an alias names no alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

func kindOf(n *yaml.Node) string {
	switch resolve(n).Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}
