package auth

import (
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
	// Subscribe and Publish select the channels; {sub} in them stands for
	// Subject.
	Subscribe, Publish []channels.Pattern
}

// MaySubscribe tells whether a subscribe pattern selects channel. It is the
// token's side only: Decide knows the channel's policy too.
func (c *Claims) MaySubscribe(channel string) bool {
	return c != nil && matchAny(c.Subscribe, channel, c.Subject)
}

// MayPublish tells whether a publish pattern selects channel.
func (c *Claims) MayPublish(channel string) bool {
	return c != nil && matchAny(c.Publish, channel, c.Subject)
}

func matchAny(patterns []channels.Pattern, channel, subject string) bool {
	for _, p := range patterns {
		if p.Match(channel, subject) {
			return true
		}
	}
	return false
}
