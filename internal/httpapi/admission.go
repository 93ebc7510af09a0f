package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/revocation"
	"realtime-gateway/internal/webhook"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/sse"
)

// Authorizer decides about rights in place of a policy and a token;
// *webhook.Authorizer is one, and says what its errors are.
type Authorizer interface {
	Ask(ctx context.Context, q webhook.Question) (until time.Time, err error)
	Watch(q webhook.Question, until time.Time, lost func(error)) (stop func())
}

// admission is one connection's way in: what it has been given, and gives back
// when it ends. It is the session's permit.
type admission struct {
	visit  revocation.Visit
	slots  sse.Permit // of the limits; nil for none
	leases *[]func()  // end the watches over what the application allowed; nil for none
}

// Release implements sse.Permit.
func (a *admission) Release() {
	if a.leases != nil {
		for _, stop := range *a.leases {
			stop()
		}
	}
	a.visit.Leave()
	if a.slots != nil {
		a.slots.Release()
	}
}

// permit is what the session has to release. A connection of nobody, with
// nothing to lose, is kept free of the rest.
func (a *admission) permit() sse.Permit {
	if a.visit.User == "" && a.leases == nil {
		return a.slots
	}
	return a
}

// enter begins an admission. It has to be released, unless there is an error.
func (a *api) enter(ctx context.Context, claims *auth.Claims) (*admission, error) {
	in := &admission{}
	if err := a.Revoked.Enter(ctx, who(claims), &in.visit); err != nil {
		return nil, a.taken(err)
	}
	return in, nil
}

// stillHas tells whether the right of a single request was taken back.
func (a *api) stillHas(ctx context.Context, claims *auth.Claims, channel string) error {
	return a.taken(a.Revoked.Check(ctx, who(claims), channel))
}

// taken is revocationProblem, counted.
func (a *api) taken(err error) error {
	switch {
	case err == nil:
	case errors.As(err, new(*revocation.RevokedError)):
		a.Authenticated(auth.ResultRevoked)
	default:
		a.Authenticated(auth.ResultUnread)
	}
	return revocationProblem(err)
}

func who(claims *auth.Claims) revocation.Who {
	if claims == nil {
		return revocation.Who{}
	}
	return revocation.Who{User: claims.Subject, TokenID: claims.ID, Issued: claims.Issued}
}

// away is what cannot be decided at the moment.
type away struct {
	detail string // for the client
	cause  error
}

// Error returns the detail and why.
func (e *away) Error() string { return e.detail + ": " + e.cause.Error() }

// revocationProblem is what a client is told of an error of the registry.
func revocationProblem(err error) error {
	var revoked *revocation.RevokedError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &revoked):
		return &away{revocation.ErrUnavailable.Error(), err}
	case revoked.Channel != "":
		return problem(http.StatusForbidden, revoked.Error())
	}
	return problem(http.StatusUnauthorized, revoked.Error())
}

// question is what the application is asked.
func question(claims *auth.Claims, channel string, action webhook.Action) *webhook.Question {
	q := &webhook.Question{Channel: channel, Action: action}
	if claims != nil {
		q.User, q.Claims, q.TokenExpires = claims.Subject, claims.Raw, claims.Expires
	}
	return q
}

// ask asks the application, and tells until when it allows something.
func (a *api) ask(ctx context.Context, q *webhook.Question) (until time.Time, err error) {
	if a.Tracer != nil {
		var span trace.Span
		ctx, span = a.Tracer.Start(ctx, "webhook question", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			keyChannel.String(q.Channel), keyAction.String(string(q.Action))))
		defer func() { endSpan(span, err) }()
	}
	until, err = a.Authorizer.Ask(ctx, *q)
	if err != nil {
		return until, decided(err, q)
	}
	return until, nil
}

// decided is the answer where the application does not allow something.
func decided(err error, q *webhook.Question) error {
	var denied *webhook.DeniedError
	if !errors.As(err, &denied) {
		return &away{"the application that decides about channel " + quote(q.Channel) + " cannot be asked at the moment", err}
	}
	p := forbidden(q.Channel)
	if q.Claims == nil {
		p = problem(http.StatusUnauthorized, "channel "+quote(q.Channel)+" is not allowed without a token")
	}
	if denied.Reason != "" {
		p.Detail += ": " + denied.Reason
	}
	return p
}

// withdrawn takes from an open connection what the application does not allow
// any more.
func (in *admission) withdrawn(channel string, why error) {
	var denied *webhook.DeniedError
	switch {
	case errors.Is(why, webhook.ErrTokenExpired): // the stream ends by itself
	case errors.As(why, &denied):
		if p, err := channels.ParsePattern(channel); err == nil {
			in.visit.Lose(p, denied.Reason)
			return
		}
		fallthrough // no name is no pattern
	default:
		in.visit.End(sse.CloseUnavailable, "")
	}
}
