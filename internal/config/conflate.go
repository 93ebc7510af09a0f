package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"realtime-gateway/pkg/channels"
)

// conflateValue is the channel setting conflate, the only one that is a mapping.
type conflateValue struct{ p *channels.Conflate }

func (v conflateValue) String() string {
	if *v.p == (channels.Conflate{}) {
		return ""
	}
	return fmt.Sprintf("{by: %s, window: %s}", v.p.By, formatDuration(v.p.Window))
}
func (v conflateValue) Type() string { return "mapping" }
func (v conflateValue) Allowed() string {
	return "a mapping with by and window, such as {by: data.id, window: 100ms}"
}
func (v conflateValue) Set(string) error { return notAllowed(v) }
func (v conflateValue) by() value        { return byValue{&v.p.By} }
func (v conflateValue) window() value {
	return durationValue{&v.p.Window, channels.MinConflateWindow, channels.MaxConflateWindow}
}

// byValue is where an event has its key.
type byValue struct{ p *string }

func (v byValue) String() string { return *v.p }
func (v byValue) Type() string   { return "string" }
func (v byValue) Allowed() string {
	return "names of nested members of the event, parted by dots, such as data.id"
}
func (v byValue) Set(s string) error {
	if channels.CheckConflateBy(s) != nil {
		return notAllowed(v)
	}
	*v.p = s
	return nil
}

// readConflate reads the mapping. Its keys are added to lines.
func (f *file) readConflate(v conflateValue, e entry, lines map[string]int) error {
	where := f.at(e.line).of(e.key)
	switch {
	case isNull(e.value):
		return errorf(where, "is empty: allowed is %s", v.Allowed())
	case e.value.Kind != yaml.MappingNode:
		return errorf(where, "is %s: allowed is %s", kindOf(e.value), v.Allowed())
	}
	entries, err := f.entries(e.value, false)
	if err != nil {
		return err
	}
	fields := map[string]value{"by": v.by(), "window": v.window()}
	for _, inner := range entries {
		field, ok := fields[inner.key]
		if !ok {
			return errorf(where, "has the unknown setting %s%s", shownKey(inner.key), didYouMean(inner.key, []string{"by", "window"}))
		}
		inner.key = keyConflate + "." + inner.key
		lines[inner.key] = inner.line
		if err := f.readScalar(field, inner); err != nil {
			return err
		}
	}
	for _, name := range []string{"by", "window"} {
		if _, ok := lines[keyConflate+"."+name]; !ok {
			return errorf(where, "has no %s: allowed is %s", name, v.Allowed())
		}
	}
	return nil
}

// readScalar sets a value from the text of its entry.
func (f *file) readScalar(v value, e entry) error {
	text, err := f.scalar(e, v.Allowed())
	if err != nil {
		return err
	}
	if err := v.Set(text); err != nil {
		return wrongValue(f.at(e.line).of(e.key), v, text, err)
	}
	return nil
}
