package auth

import "realtime-gateway/pkg/channels"

// Decision is the answer to a wish to subscribe or to publish.
type Decision int

// The decisions. Forbidden is the zero value, so that a forgotten one refuses.
const (
	// Forbidden: not with these claims, or not at all (403).
	Forbidden Decision = iota
	// NeedToken: not without a token, perhaps with one (401).
	NeedToken
	// Allowed: yes.
	Allowed
	// Ask: the application's webhook decides.
	Ask
)

// String returns the decision's name in lower case, for logs.
func (d Decision) String() string {
	switch d {
	case Allowed:
		return "allowed"
	case NeedToken:
		return "need token"
	case Ask:
		return "ask"
	}
	return "forbidden"
}

// Decide says whether the holder of claims (nil: nobody) may subscribe to
// channel under policy p, which is the first that selects the channel (nil:
// none does, so nobody may).
//
// A placeholder such as {sub} in the policy's pattern is a condition of its own,
// also where the policy is public or asks the webhook: the channel belongs to
// whose claim says so. Without a placeholder the webhook is asked about nobody,
// too. The claims' expiry is not looked at; it is the time of verification, and
// of the stream, that decides.
//
// Decide depends on its arguments alone and is safe for concurrent use.
func Decide(p *channels.Policy, claims *Claims, channel string) Decision {
	if p == nil || !p.Pattern.MatchAnyone(channel) {
		return Forbidden
	}
	if d := ownerOnly(p, claims, channel); d != Allowed {
		return d
	}
	switch p.Subscribe {
	case channels.AccessPublic:
		return Allowed
	case channels.AccessAuthenticated:
		return needs(claims, true)
	case channels.AccessToken, "":
		return needs(claims, claims.MaySubscribe(channel))
	case channels.AccessWebhook:
		return Ask
	}
	return Forbidden
}

// DecidePublish says whether the holder of claims may publish to channel under
// policy p over HTTP. Arguments and promises are those of Decide.
//
// The placeholders of the policy's pattern are a condition here too, except
// where the token's own publish patterns decide: these name the channel, and
// services that publish to the channels of all users have no such claim.
func DecidePublish(p *channels.Policy, claims *Claims, channel string) Decision {
	if p == nil || !p.Pattern.MatchAnyone(channel) {
		return Forbidden
	}
	switch p.Publish {
	case channels.AccessToken, "":
		return needs(claims, claims.MayPublish(channel))
	case channels.AccessAuthenticated:
		if d := ownerOnly(p, claims, channel); d != Allowed {
			return d
		}
		return needs(claims, true)
	case channels.AccessWebhook:
		if d := ownerOnly(p, claims, channel); d != Allowed {
			return d
		}
		return Ask
	}
	return Forbidden
}

// ownerOnly is Allowed where the placeholders of p's pattern, if any, stand for
// what claims hold.
func ownerOnly(p *channels.Policy, claims *Claims, channel string) Decision {
	if !p.Pattern.HasPlaceholder() {
		return Allowed
	}
	return needs(claims, p.Pattern.Match(channel, claims.Has))
}

// needs is the decision where somebody's claims must be right.
func needs(claims *Claims, right bool) Decision {
	switch {
	case claims == nil:
		return NeedToken
	case right:
		return Allowed
	}
	return Forbidden
}
