package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"realtime-gateway/internal/auth"
	"realtime-gateway/pkg/channels"
)

// requests returns the subscriptions of a connection: the channels that the
// client names, each of which must be allowed, and those of
// Options.AutoSubscribe that are.
func (a *api) requests(ctx context.Context, claims *auth.Claims, p *params) ([]channels.Request, error) {
	out := make([]channels.Request, 0, len(p.channels)+len(a.AutoSubscribe))
	join := func(name string) error {
		policy, err := a.maySubscribe(ctx, claims, name)
		if err == nil {
			out = append(out, channels.Request{Channel: name, Start: p.start(name, policy)})
		}
		return err
	}
	for _, name := range p.channels {
		if err := join(name); err != nil {
			return nil, err
		}
	}
	if len(a.AutoSubscribe) == 0 {
		return out, nil
	}
	known := make(map[string]bool, cap(out))
	for _, name := range p.channels {
		known[name] = true
	}
	for _, template := range a.AutoSubscribe {
		names, all := template.Names(claims.Values, a.MaxChannels)
		if !all {
			// To leave some of them out would be to lose events without a word.
			return nil, a.tooMany()
		}
		if len(names) == 0 {
			a.Logger.Debug("auto-subscribe: the token has no value for an entry", "entry", template.String())
		}
		for _, name := range names {
			if known[name] {
				continue
			}
			known[name] = true
			if err := join(name); err != nil && !refused(err) {
				return nil, err
			} else if err != nil {
				a.Logger.Debug("auto-subscribe: a channel is left out", "channel", name, "reason", err)
			}
			if len(out) > a.MaxChannels {
				return nil, a.tooMany()
			}
		}
	}
	if len(out) == 0 {
		whom := "this token"
		if claims == nil {
			whom = "a request without a token"
		}
		return nil, malformed("no channel is named, and none is joined by itself for " + whom + ": add ?channel=NAME, several times for several channels")
	}
	return out, nil
}

func (a *api) tooMany() *Problem {
	return malformed(fmt.Sprintf("more than %d channels on one connection", a.MaxChannels))
}

// refused tells whether an error is a refusal for good, and no failure to find
// out.
func refused(err error) bool {
	var p *Problem
	return errors.As(err, &p) && p.Status < http.StatusInternalServerError
}
