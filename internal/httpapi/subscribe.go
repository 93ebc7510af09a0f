package httpapi

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/trace"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/limit"
	"realtime-gateway/pkg/sse"
)

// A proxy without health checks asks a replica that drains, by this request header,
// to refuse newcomers with a status for which the proxy tries the next replica: with
// fewest connections it would otherwise look like the best one until its end. It is
// not 503, which polls get for other reasons that the client has to see.
const (
	drainingHeader = "X-Gateway-Draining"
	drainingStatus = "502"
)

const leaving = "this replica is leaving: ask again, and another one will answer"

// subscribe serves /v1/events: a stream, or one answer to a poll.
func (a *api) subscribe(c echo.Context) error {
	r := c.Request()
	if err := noBody(r); err != nil {
		return err
	}
	if r.Header.Get(drainingHeader) == drainingStatus && a.Streams.Draining() {
		return problem(http.StatusBadGateway, leaving)
	}
	p, err := a.params(r)
	if err != nil {
		return err
	}
	err = a.connect(c, p)
	// An EventSource would not come back after any other answer.
	var over *limited
	switch {
	case p.poll:
		return err
	case errors.As(err, &over):
		a.refuseStream(c, over)
		return nil
	case errors.Is(err, auth.ErrUnavailable), errors.As(err, new(*away)):
		a.Logger.DebugContext(c.Request().Context(), "a stream is refused for now", "error", err)
		a.takeOver(c)
		a.Streams.Refuse(c.Response().Writer, sse.CloseUnavailable)
		return nil
	}
	return err
}

// connect checks what a client asks for, and serves it. The error is a *limited
// where the client has as much as it may.
func (a *api) connect(c echo.Context, p *params) error {
	session, err := a.begin(c, p)
	if err != nil {
		return err
	}
	if p.poll {
		return a.poll(c, session)
	}
	a.takeOver(c)
	return a.Streams.Stream(c.Response().Writer, c.Request(), session)
}

// begin finds out what a connection may have. Its span ends here: one that lasts
// as long as a stream would say nothing until it is over. The request goes on
// without it, for it would be kept as long.
func (a *api) begin(c echo.Context, p *params) (session sse.Session, err error) {
	before := c.Request()
	end := a.span(c, "connect", trace.SpanKindServer)
	defer func() {
		if end(err); err == nil {
			c.SetRequest(before)
		}
	}()
	if err := a.allowAddress(c, &a.limits.subscribe); err != nil {
		return session, err
	}
	claims, err := a.identify(c.Request())
	if err != nil {
		return session, err
	}
	if err := a.allowUser(c, claims, &a.limits.subscribe); err != nil {
		return session, err
	}
	in, err := a.enter(c.Request().Context(), claims)
	if err != nil {
		return session, err
	}
	session, err = a.session(c.Request().Context(), p, claims, in)
	if err == nil {
		in.slots, err = a.admit(c, claims)
	}
	if err != nil {
		in.Release()
		return session, err
	}
	describe(c.Request().Context(), keyChannels.Int(len(session.Requests)))
	session.Permit = in.permit() // from here on it is the streams'
	return session, nil
}

func (a *api) poll(c echo.Context, session sse.Session) error {
	reason, err := a.Streams.Poll(c.Response(), c.Request(), session)
	switch reason {
	case "":
		return err
	case sse.CloseRevoked:
		return problem(http.StatusForbidden, "the right to read was taken back")
	case sse.CloseFull:
		a.Limited(limit.ReplicaConnections) // of streams, the hook of Streams tells
	}
	return temporary(map[sse.CloseReason]string{
		sse.CloseDraining:    leaving,
		sse.CloseFull:        "this replica has as many connections as it may: ask again, and perhaps another one will answer",
		sse.CloseUnavailable: "Redis, or what decides about rights, cannot be reached at the moment",
		sse.CloseSlow:        "the channel was faster than this answer: ask again",
	}[reason])
}

// takeOver tells echo that the answer is written past it. What a client sends
// behind a request for a stream is never a request, so on HTTP/1 the connection
// ends with the stream; in HTTP/2 the header would end the other streams too.
func (a *api) takeOver(c echo.Context) {
	if c.Request().ProtoMajor == 1 {
		c.Response().Header().Set("Connection", "close")
	}
	c.Response().Committed = true
	c.Response().Status = 200
}
