package auth

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"realtime-gateway/pkg/channels"
)

// Claims is who holds a verified token, and the holder's rights. A nil *Claims
// is nobody, who has none. Claims are not changed after Verify returned them
// and are then safe for concurrent use.
type Claims struct {
	// Subject is the user; empty if the token names none.
	Subject string
	// ID is the token's own (jti); empty if it has none.
	ID string
	// Expires is when the token's rights end; zero means never. It is the
	// token's exp itself, so a token that was accepted within Options.Leeway
	// is already past it.
	Expires time.Time
	// Issued is when the token was made (iat), in whole seconds or with a
	// fraction, as its issuer wrote it; zero if it does not say.
	Issued time.Time
	// Subscribe and Publish select the channels; placeholders in them stand for
	// Values.
	Subscribe, Publish []channels.Pattern
	// Raw is the whole payload, as it was signed.
	Raw json.RawMessage

	fields map[string]json.RawMessage // of Raw

	mu     sync.Mutex
	values map[string][]string // what Values has answered
}

// Values returns what the placeholder of that claim stands for, each once: the
// claim's value where it is a string or an integer, or those of its elements
// that are. What is no segment of a channel name (see channels.IsSegment) is
// left out, as is a number with a fraction or an exponent. The caller must not
// change the result.
func (c *Claims) Values(claim string) []string {
	if c == nil {
		return nil
	}
	// Only the claims that patterns name are read, and each once: it may be
	// asked for by many patterns and channels.
	c.mu.Lock()
	defer c.mu.Unlock()
	values, known := c.values[claim]
	if !known {
		if claim != "sub" {
			values = segmentsIn(c.fields[claim])
		} else if channels.IsSegment(c.Subject) {
			values = []string{c.Subject}
		}
		if c.values == nil {
			c.values = make(map[string][]string)
		}
		c.values[claim] = values
	}
	return values
}

// Has tells whether value is among Values.
func (c *Claims) Has(claim, value string) bool { return slices.Contains(c.Values(claim), value) }

// MaySubscribe tells whether a subscribe pattern selects channel. It is the
// token's side only: Decide knows the channel's policy too.
func (c *Claims) MaySubscribe(channel string) bool {
	return c != nil && matchAny(c.Subscribe, channel, c.Has)
}

// MayPublish tells whether a publish pattern selects channel. It is the token's
// side only: DecidePublish knows the channel's policy too.
func (c *Claims) MayPublish(channel string) bool {
	return c != nil && matchAny(c.Publish, channel, c.Has)
}

func matchAny(patterns []channels.Pattern, channel string, holds func(claim, value string) bool) bool {
	for i := range patterns {
		if patterns[i].Match(channel, holds) {
			return true
		}
	}
	return false
}
