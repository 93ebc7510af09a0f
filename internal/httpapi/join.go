package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/webhook"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/sse"
)

// wish is a channel that a connection is to have.
type wish struct {
	name     string
	own      bool // the client names it: it is refused where it is not allowed, and else left out
	policy   *channels.Policy
	question *webhook.Question // nil where it need not be asked
	until    time.Time         // when the application's word ends
	err      error
}

// session admits a connection to the channels that its client names, each of
// which must be allowed, and to those of Options.AutoSubscribe that are.
func (a *api) session(ctx context.Context, p *params, claims *auth.Claims, in *admission) (sse.Session, error) {
	s := sse.Session{HeartbeatEvents: p.heartbeats}
	if claims != nil {
		s.Expires = claims.Expires
	}
	wishes, err := a.wishes(claims, p)
	if err != nil {
		return s, err
	}
	a.decide(ctx, claims, in, wishes)
	s.Requests = make([]channels.Request, 0, len(wishes))
	for i := range wishes {
		w := &wishes[i]
		switch {
		case w.err == nil:
			s.Requests = append(s.Requests, channels.Request{Channel: w.name, Start: p.start(w.name, w.policy)})
		case w.own || !refused(w.err):
			return s, w.err
		default:
			a.Logger.Debug("auto-subscribe: a channel is left out", "channel", w.name, "reason", w.err)
		}
	}
	switch {
	case len(s.Requests) > a.MaxChannels:
		return s, a.tooMany()
	case len(s.Requests) == 0:
		whom := "this token"
		if claims == nil {
			whom = "a request without a token"
		}
		return s, malformed("no channel is named, and none is joined by itself for " + whom + ": add ?channel=NAME, several times for several channels")
	}
	for i := range wishes {
		if w := &wishes[i]; w.err == nil {
			a.lease(in, w)
		}
	}
	if in.visit.User != "" || in.leases != nil {
		s.Holder = &in.visit.Holder
	}
	return s, nil
}

// wishes lists the channels of a connection, each once.
func (a *api) wishes(claims *auth.Claims, p *params) ([]wish, error) {
	out := make([]wish, 0, len(p.channels)+len(a.AutoSubscribe))
	for _, name := range p.channels {
		out = append(out, wish{name: name, own: true})
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
			if !known[name] {
				known[name] = true
				out = append(out, wish{name: name})
			}
		}
	}
	return out, nil
}

// decide finds out about the right to each channel. The application is asked all
// its questions at once, and none where something is refused anyway.
func (a *api) decide(ctx context.Context, claims *auth.Claims, in *admission, wishes []wish) {
	refuse := false
	for i := range wishes {
		w := &wishes[i]
		if w.policy, w.question, w.err = a.maySubscribe(claims, w.name); w.err == nil {
			w.err = revocationProblem(in.visit.Denied(w.name))
		}
		refuse = refuse || w.err != nil && w.own
	}
	if refuse {
		return
	}
	var asking sync.WaitGroup
	for i := range wishes {
		if w := &wishes[i]; w.err == nil && w.question != nil {
			asking.Go(func() { w.until, w.err = a.ask(ctx, w.question) })
		}
	}
	asking.Wait()
}

// lease has what the application allowed watched as long as the connection
// lasts. It is for who is let in: where something is refused, the application may
// not have been asked about the rest.
func (a *api) lease(in *admission, w *wish) {
	if w.question != nil {
		name := w.name
		if in.leases == nil {
			in.leases = new([]func())
		}
		*in.leases = append(*in.leases, a.Authorizer.Watch(*w.question, w.until, func(err error) { in.withdrawn(name, err) }))
	}
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
