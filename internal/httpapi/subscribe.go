package httpapi

import (
	"errors"

	"github.com/labstack/echo/v4"

	"realtime-gateway/internal/auth"
	"realtime-gateway/pkg/sse"
)

// subscribe serves /v1/events: a stream, or one answer to a poll.
func (a *api) subscribe(c echo.Context) error {
	r := c.Request()
	p, err := a.params(r)
	if err != nil {
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
	session := sse.Session{HeartbeatEvents: p.heartbeats}
	if claims != nil {
		session.User, session.Expires = claims.Subject, claims.Expires
	}
	if session.Requests, err = a.requests(r.Context(), claims, p); err != nil {
		return err
	}
	if p.poll {
		reason, err := a.Streams.Poll(c.Response(), r, session)
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
