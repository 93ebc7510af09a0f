package channels

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Event is one published event as the stream keeps it and the broker announces
// it. Values are immutable once handed to the hub.
type Event struct {
	Position Position
	// Prev is the position of the channel's event before this one; zero for
	// the first of its stream. Meaningless on a channel without history.
	Prev Position
	// Payload is what was published, valid UTF-8.
	Payload string
	// EventID and Type are the publisher's, or empty where it gave none.
	EventID, Type string
	// Foreign marks an entry that no publisher of ours made: it has a position
	// and nothing else, and is given as a gap.
	Foreign bool
	// Lost marks an entry that is no event, but records that the stream lost
	// some; nil for events.
	Lost *Loss
	// TTL is the age beyond which the event is not delivered. If zero, only
	// the channel's policy decides.
	TTL time.Duration
}

// Loss says what a stream has lost: every event after After up to Upto, as far
// as anybody knows. Redis loses acknowledged writes when a replica takes over
// that had not received them, or when it is emptied.
type Loss struct{ After, Upto Position }

// covers tells whether who has been told of l need not be told of other.
func (l *Loss) covers(other *Loss) bool {
	return l != nil && !other.After.Less(l.After) && !l.Upto.Less(other.Upto)
}

// Reserved event types begin with ReservedPrefix: the gateway speaks to
// clients with them, so no publisher may.
const ReservedPrefix = "gateway."

// DefaultType is the type of an event whose publisher named none.
const DefaultType = "message"

// MaxLabelLen is the length in bytes of the longest event type or event id
// that a publisher may give.
const MaxLabelLen = 255

// ValidType tells whether s can be an event's type: 1 to MaxLabelLen bytes of
// UTF-8 without control characters, not beginning with ReservedPrefix. A line
// break in a type would forge fields of the text/event-stream format.
func ValidType(s string) bool {
	return validLabel(s) && !strings.HasPrefix(s, ReservedPrefix)
}

// ValidEventID tells whether s can be an event's id: 1 to MaxLabelLen bytes of
// UTF-8 without control characters.
func ValidEventID(s string) bool { return validLabel(s) }

func validLabel(s string) bool {
	if len(s) == 0 || len(s) > MaxLabelLen || !utf8.ValidString(s) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// expires returns when the event stops being deliverable under p, in Unix
// milliseconds, or 0 for never.
func (e *Event) expires(p *Policy) int64 {
	var at int64
	limit := func(ttl time.Duration) {
		if ttl <= 0 {
			return
		}
		if t := int64(e.Position.Millis) + ttl.Milliseconds(); at == 0 || t < at {
			at = t
		}
	}
	limit(e.TTL)
	limit(p.MessageTTL)
	if p.History() {
		limit(p.HistoryTTL)
	}
	return at
}
