package httpapi

import (
	"errors"

	"github.com/labstack/echo/v4"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/limit"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/sse"
)

// subscribe serves /v1/events: a stream, or one answer to a poll.
func (a *api) subscribe(c echo.Context) error {
	r := c.Request()
	p, err := a.params(r)
	if err != nil {
		return err
	}
	err = a.connect(c, p)
	var over *limited
	if errors.As(err, &over) && !p.poll {
		a.refuseStream(c, over)
		return nil
	}
	return err
}

// connect checks what a client asks for, and serves it. The error is a *limited
// where the client has as much as it may.
func (a *api) connect(c echo.Context, p *params) error {
	r := c.Request()
	if err := a.allowAddress(c, &a.limits.subscribe); err != nil {
		return err
	}
	claims, err := a.identify(r)
	if errors.Is(err, auth.ErrUnavailable) && !p.poll {
		a.takeOver(c)
		a.Streams.Refuse(c.Response().Writer, sse.CloseUnavailable)
		return nil
	}
	if err != nil {
		return err
	}
	if err := a.allowUser(claims, &a.limits.subscribe); err != nil {
		return err
	}
	session := sse.Session{HeartbeatEvents: p.heartbeats, Requests: make([]channels.Request, 0, len(p.channels))}
	if claims != nil {
		session.Holder, session.Expires = &sse.Holder{User: claims.Subject}, claims.Expires
	}
	for _, name := range p.channels {
		policy, err := a.maySubscribe(r.Context(), claims, name)
		if err != nil {
			return err
		}
		session.Requests = append(session.Requests, channels.Request{Channel: name, Start: p.start(name, policy)})
	}
	// Last, so that nothing can fail before the permit is the streams'.
	if session.Permit, err = a.admit(c, claims); err != nil {
		return err
	}
	if p.poll {
		reason, err := a.Streams.Poll(c.Response(), r, session)
		if reason == sse.CloseFull {
			a.Limited(limit.ReplicaConnections) // of streams, the hook of Streams tells
		}
		if reason != "" {
			return temporary(map[sse.CloseReason]string{
				sse.CloseDraining:    "this replica is leaving: ask again, and another one will answer",
				sse.CloseFull:        "this replica has as many connections as it may: ask again, and perhaps another one will answer",
				sse.CloseUnavailable: "Redis cannot be reached at the moment",
				sse.CloseSlow:        "the channel was faster than this answer: ask again",
			}[reason])
		}
		return err
	}
	a.takeOver(c)
	return a.Streams.Stream(c.Response().Writer, r, session)
}

// takeOver tells echo that the answer is written past it.
func (a *api) takeOver(c echo.Context) {
	c.Response().Committed = true
	c.Response().Status = 200
}
