package auth

import "realtime-gateway/pkg/channels"

// Decision is the answer to a wish to subscribe.
type Decision int

// The decisions. Forbidden is the zero value, so that a forgotten one refuses.
const (
	// Forbidden: not with these claims, or not at all (403).
	Forbidden Decision = iota
	// NeedToken: not without a token, perhaps with one (401).
	NeedToken
	// Allowed: yes.
	Allowed
)

// String returns the decision's name in lower case, for logs.
func (d Decision) String() string {
	switch d {
	case Allowed:
		return "allowed"
	case NeedToken:
		return "need token"
	}
	return "forbidden"
}

// Decide says whether the holder of claims (nil: nobody) may subscribe to
// channel under policy p, which is the first that selects the channel (nil:
// none does, so nobody may).
//
// A placeholder such as {sub} in the policy's pattern is a condition of its own,
// also where the policy is public: the channel belongs to whose claim says so. The claims' expiry is not
// looked at; it is the time of verification, and of the stream, that decides.
//
// Decide depends on its arguments alone and is safe for concurrent use.
func Decide(p *channels.Policy, claims *Claims, channel string) Decision {
	if p == nil || !p.Pattern.MatchAnyone(channel) {
		return Forbidden
	}
	if p.Pattern.HasPlaceholder() {
		if claims == nil {
			return NeedToken
		}
		if !p.Pattern.Match(channel, claims.Has) {
			return Forbidden
		}
	}
	switch p.Subscribe {
	case channels.AccessPublic:
		return Allowed
	case channels.AccessAuthenticated:
		if claims == nil {
			return NeedToken
		}
		return Allowed
	case channels.AccessToken, "":
		if claims == nil {
			return NeedToken
		}
		if claims.MaySubscribe(channel) {
			return Allowed
		}
	}
	return Forbidden
}
