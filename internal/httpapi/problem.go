package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/limit"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
)

// Problem is an answer by RFC 9457. It is an error that says itself what the
// client gets to read.
type Problem struct {
	Type   string `json:"type"` // always about:blank: the status says what kind it is
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Limit is which limit was reached, with 429.
	Limit limit.Name `json:"limit,omitempty"`
	// Channel is which channel is refused, with 403: a client leaves it out and
	// goes on with the others.
	Channel string `json:"channel,omitempty"`

	retryAfter int // seconds, for what is temporary
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// maxDetail is the length in bytes of the longest detail. Many quote what the
// client sent, which may be as long as it likes.
const maxDetail = 1024

func problem(status int, detail string) *Problem {
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

func malformed(detail string) *Problem { return problem(http.StatusBadRequest, detail) }

func temporary(detail string) *Problem {
	p := problem(http.StatusServiceUnavailable, detail)
	p.retryAfter = 2
	return p
}

// forbidden is the same for a channel that does not exist and one that others
// may read: which of the two it is, is nobody's business.
func forbidden(channel string) *Problem {
	p := problem(http.StatusForbidden, "channel "+quote(channel)+" does not exist or is not allowed to you")
	p.Channel = channel
	return p
}

func channelProblem(channel string, err error) error {
	var name *channels.NameError
	switch {
	case errors.As(err, &name):
		return malformed(name.Error())
	case errors.Is(err, channels.ErrUnknownChannel):
		return forbidden(channel)
	}
	return err
}

func quote(s string) string { return strconv.QuoteToASCII(s) }

// fail answers an error: the one place where errors become HTTP statuses.
func (a *api) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	var p *Problem
	var over *limited
	var undecided *away
	var routing *echo.HTTPError
	switch {
	case errors.As(err, &p):
	case errors.As(err, &over):
		p = over.problem()
	case errors.As(err, &undecided):
		p = temporary(undecided.detail)
		a.Logger.DebugContext(c.Request().Context(), "a request failed", "path", c.Request().URL.Path, "error", undecided.cause)
	case errors.Is(err, auth.ErrUnavailable):
		p = temporary(auth.ErrUnavailable.Error())
	case errors.Is(err, redisbus.ErrDenied):
		p = temporary("events cannot be published at the moment") // the Publisher tells the log
	case errors.Is(err, redisbus.ErrInvalid), errors.Is(err, redisbus.ErrRefused):
		p = malformed(err.Error())
	case errors.As(err, &routing):
		p = problem(routing.Code, c.Request().Method+" "+c.Request().URL.Path+" is not served here")
		if routing.Code == http.StatusMethodNotAllowed {
			p.Detail = c.Request().Method + " is not allowed on " + c.Request().URL.Path
		}
	default:
		p = temporary("Redis cannot be reached, or could not do this, at the moment")
		if c.Request().Context().Err() == nil { // else the client has left
			a.Logger.WarnContext(c.Request().Context(), "a request failed", "path", c.Request().URL.Path, "error", err)
		}
	}
	h := c.Response().Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="realtime-gateway"`)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	c.Response().WriteHeader(p.Status)
	if c.Request().Method != http.MethodHead {
		_ = json.NewEncoder(c.Response()).Encode(p)
	}
}

func stack() string { return string(debug.Stack()) }
