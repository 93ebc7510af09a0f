package config

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"realtime-gateway/pkg/channels"
)

// Effective is a setting as it applies.
type Effective struct {
	Setting Setting
	Value   string // as it would be written, without secrets; empty where not set
	Source  Source
}

// Effective lists every setting but the channel policies, in the order of
// Settings.
func (c *Config) Effective() []Effective {
	out := make([]Effective, len(registry))
	for i := range registry {
		s := &registry[i]
		v := s.bind(c)
		text := v.String()
		if secret, ok := v.(secretive); ok {
			text = secret.Redacted()
		}
		out[i] = Effective{s.Setting, text, c.Source(s.Name)}
	}
	return out
}

// Source tells where the setting of that name (as in Setting.Name) has its
// value from.
func (c *Config) Source(name string) Source { return c.sources[name] }

// where names a setting and its source as the beginning of a sentence.
func (c *Config) where(name string) string {
	s := c.Source(name)
	if s.Origin == FromDefault {
		return "--" + name + " (" + s.String() + ")"
	}
	return s.of(named(name).YAML)
}

// WriteListing writes what applies, for people: every setting and every
// channel policy with its source, without secrets.
func (c *Config) WriteListing(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range c.Effective() {
		shown := e.Value
		if shown == "" {
			shown = "(not set)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", e.Setting.Name, shown, e.Source)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, c.policyListing())
	return err
}

func (c *Config) policyListing() string {
	if len(c.Channels) == 0 {
		return "\nchannels: none, every channel is refused\n"
	}
	var b strings.Builder
	b.WriteString("\nchannels, the first match wins:\n")
	for i, p := range c.Channels {
		fmt.Fprintf(&b, "  %s  (%s)\n   ", p.Pattern, c.policySource(i))
		shown := *p // its fields are bound, not changed
		for _, field := range policyFields {
			if field.key != keyPattern && !idle(p, field.key) {
				fmt.Fprintf(&b, " %s=%s", field.key, field.bind(&shown))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (c *Config) policySource(i int) Source {
	if i < len(c.policySources) {
		return c.policySources[i]
	}
	return Source{}
}

// idle tells whether a key means nothing: without history, or without conflate.
func idle(p *channels.Policy, key string) bool {
	return key == keyConflate && !p.Conflates() || !p.History() && (key == "historyTTL" || key == "lastN" || key == "maxAge")
}
