package httpapi

import (
	"net"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"
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
// whatever its port, and nobody else's pages: what is open to everyone must
// not be open to any site that the developer happens to visit, nor to a name
// that such a site points at loopback.
func loopbackOnly(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if !isLoopback(r.Host) {
			return problem(http.StatusForbidden, "a gateway in development mode answers to 127.0.0.1 and localhost only, not to "+quote(r.Host))
		}
		if origin := r.Header.Get("Origin"); origin != "" {
			u, err := url.Parse(origin)
			if err != nil || !isLoopback(u.Host) {
				return problem(http.StatusForbidden, "a gateway in development mode serves pages of this machine only, not of "+quote(origin))
			}
			h := c.Response().Header()
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Credentials", "true")
			h.Add("Vary", "Origin")
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				h.Set("Access-Control-Allow-Methods", "GET, POST")
				h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID, Cache-Control")
				h.Set("Access-Control-Max-Age", "600")
				return c.NoContent(http.StatusNoContent)
			}
		}
		return next(c)
	}
}

func isLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	if len(host) > 2 && host[0] == '[' {
		host = host[1 : len(host)-1]
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
