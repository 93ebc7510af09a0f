package channels

import (
	"fmt"
	"time"
)

// OnFull says what happens when a connection lags more events behind than its
// channel's BufferSize.
type OnFull string

// The choices for OnFull.
const (
	DropOldest OnFull = "drop-oldest" // skip to the newest BufferSize events, with a gap
	DropNewest OnFull = "drop-newest" // keep the oldest BufferSize events, drop what came after, with a gap
	Disconnect OnFull = "disconnect"  // close the connection with a reason
	CatchUp    OnFull = "catch-up"    // go on from history, losing nothing
)

// Access says who may subscribe, or who may publish over HTTP.
type Access string

// The choices for Access.
const (
	AccessToken         Access = "token"         // whose token's claims select the channel
	AccessAuthenticated Access = "authenticated" // anyone with a valid token
	AccessWebhook       Access = "webhook"       // whom the application allows when it is asked
	AccessPublic        Access = "public"        // anyone; to subscribe only
	AccessNone          Access = "none"          // nobody; to publish only
)

// Policy is how the channels selected by a pattern behave.
type Policy struct {
	Pattern Pattern

	// BufferSize is how many events a connection may lag behind before OnFull
	// acts. If zero, DefaultBufferSize is used.
	BufferSize int
	// OnFull is what happens then. If empty, CatchUp where there is history,
	// otherwise DropOldest.
	OnFull OnFull
	// MessageTTL is the age beyond which an event is never delivered, live or
	// replayed. If zero, events have no such age.
	MessageTTL time.Duration
	// LastN is how many past events a first connection gets, and the most it
	// may ask for. If zero, only MaxAge decides.
	LastN int
	// MaxAge is the age of the oldest past event that a first connection gets,
	// and the most it may ask for. If zero, only LastN decides.
	MaxAge time.Duration
	// HistorySize is how many events the stream keeps. If zero, the channel
	// has no history and delivers at most once.
	HistorySize int
	// HistoryTTL is how long the stream keeps an event. If zero,
	// DefaultHistoryTTL is used.
	HistoryTTL time.Duration
	// IdempotencyWindow is how long a repeated EVENTID is recognised. If zero,
	// DefaultIdempotencyWindow is used.
	IdempotencyWindow time.Duration
	// Conflate thins the channel's live events out. If zero, it does not.
	Conflate Conflate
	// Subscribe says who may read: AccessToken, AccessAuthenticated,
	// AccessPublic or AccessWebhook. If empty, AccessToken is used.
	Subscribe Access
	// Publish says who may publish over HTTP: AccessToken, AccessAuthenticated,
	// AccessWebhook or AccessNone. If empty, AccessToken is used. It is no limit
	// to who can reach Redis.
	Publish Access
}

// Defaults of a Policy.
const (
	DefaultBufferSize        = 256
	DefaultHistoryTTL        = time.Hour
	DefaultIdempotencyWindow = 5 * time.Minute
)

// Limits of a Policy: a stream of more events, or kept for longer, belongs in
// a database.
const (
	MaxBufferSize  = 100_000
	MaxHistorySize = 1_000_000
	MaxLastN       = 5_000
	MaxDuration    = 366 * 24 * time.Hour
)

// History tells whether the channel's events are kept for replay.
func (p *Policy) History() bool { return p.HistorySize > 0 }

// NewPolicies checks the policies and fills in their defaults. The error names
// the policy, the setting and what is allowed. The result is in the given
// order, in which the first match wins.
func NewPolicies(list []Policy) (Policies, error) {
	out := make(Policies, 0, len(list))
	for i := range list {
		p := list[i]
		if err := p.complete(); err != nil {
			return nil, fmt.Errorf("channels[%d] (pattern %q): %w", i, p.Pattern, err)
		}
		out = append(out, &p)
	}
	return out, nil
}

func (p *Policy) complete() error {
	if p.Pattern.String() == "" {
		return fmt.Errorf("pattern is missing")
	}
	for _, n := range []struct {
		name       string
		value, max int
	}{{"bufferSize", p.BufferSize, MaxBufferSize}, {"historySize", p.HistorySize, MaxHistorySize}, {"lastN", p.LastN, MaxLastN}} {
		if n.value < 0 || n.value > n.max {
			return fmt.Errorf("%s is %d, allowed are 0 to %d", n.name, n.value, n.max)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"messageTTL", p.MessageTTL}, {"maxAge", p.MaxAge}, {"historyTTL", p.HistoryTTL}, {"idempotencyWindow", p.IdempotencyWindow}} {
		if d.value < 0 || d.value > MaxDuration {
			return fmt.Errorf("%s is %v, allowed are 0s to %v", d.name, d.value, MaxDuration)
		}
		if d.value%time.Millisecond != 0 {
			return fmt.Errorf("%s is %v, allowed are whole milliseconds", d.name, d.value)
		}
	}
	if p.BufferSize == 0 {
		p.BufferSize = DefaultBufferSize
	}
	if p.HistoryTTL == 0 {
		p.HistoryTTL = DefaultHistoryTTL
	}
	if p.IdempotencyWindow == 0 {
		p.IdempotencyWindow = DefaultIdempotencyWindow
	}
	if p.OnFull == "" {
		p.OnFull = DropOldest
		if p.History() {
			p.OnFull = CatchUp
		}
	}
	switch p.OnFull {
	case DropOldest, DropNewest, Disconnect:
	case CatchUp:
		if !p.History() {
			return fmt.Errorf("onFull is catch-up, which needs history: set historySize above 0, or onFull to drop-oldest, drop-newest or disconnect")
		}
	default:
		return fmt.Errorf("onFull is %q, allowed are drop-oldest, drop-newest, disconnect, catch-up", p.OnFull)
	}
	if !p.History() && (p.LastN > 0 || p.MaxAge > 0) {
		return fmt.Errorf("lastN and maxAge replay from history: set historySize above 0")
	}
	if err := p.checkConflate(); err != nil {
		return err
	}
	switch p.Subscribe {
	case "":
		p.Subscribe = AccessToken
	case AccessToken, AccessAuthenticated, AccessPublic, AccessWebhook:
	default:
		return fmt.Errorf("subscribe is %q, allowed are token, authenticated, public, webhook", p.Subscribe)
	}
	switch p.Publish {
	case "":
		p.Publish = AccessToken
	case AccessToken, AccessAuthenticated, AccessWebhook, AccessNone:
	default:
		return fmt.Errorf("publish is %q, allowed are token, authenticated, webhook, none", p.Publish)
	}
	return nil
}

// Policies is a list of policies in which the first match wins. Immutable
// after NewPolicies and safe for concurrent use.
type Policies []*Policy

// For returns the channel's policy, or nil where none matches and the channel
// is therefore refused. The answer depends on the channel alone, never on who
// asks: placeholders stand for any segment here.
func (ps Policies) For(channel string) *Policy {
	for _, p := range ps {
		if p.Pattern.MatchAnyone(channel) {
			return p
		}
	}
	return nil
}
