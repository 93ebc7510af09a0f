package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"realtime-gateway/internal/origin"
)

// Dev is what the gateway serves beside the interface in development.
type Dev struct {
	Page http.Handler // at / and below
	// Info describes this replica, Replicas the live ones; both are served as
	// JSON to the page.
	Info     func() any
	Replicas func() any
}

func (d *Dev) routes(e *echo.Echo) {
	e.GET("/dev/info", func(c echo.Context) error { return answerJSON(c, d.Info()) })
	e.GET("/dev/replicas", func(c echo.Context) error { return answerJSON(c, d.Replicas()) })
	e.Any("/v1/*", func(echo.Context) error { return echo.ErrNotFound })
	e.Match([]string{http.MethodGet, http.MethodHead}, "/*", echo.WrapHandler(d.Page))
}

// loopbackOnly lets pages of this machine use every development gateway on it,
// whatever its port, and nobody else's pages unless their origin is allowed:
// what is open to everyone must not be open to any site that the developer
// happens to visit, nor to a name that such a site points at loopback.
func (a *api) loopbackOnly(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if !origin.IsLoopback(r.Host) {
			return notLoopback(r)
		}
		if o := r.Header.Get("Origin"); o != "" && !a.allows(o) {
			return problem(http.StatusForbidden, "a gateway in development mode serves pages of this machine only, not of "+quote(o))
		}
		return next(c)
	}
}

func notLoopback(r *http.Request) *Problem {
	return problem(http.StatusForbidden, "a gateway in development mode answers to 127.0.0.1 and localhost only, not to "+quote(r.Host))
}
