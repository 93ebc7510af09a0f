package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// cors lets pages of allowed origins read the answers, with credentials. It
// sets headers before the handler runs, so they are on streams, which are
// written past echo, and on errors too: else a browser could not show them.
func (a *api) cors() echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOriginFunc:  func(o string) (bool, error) { return a.allows(o), nil },
		AllowMethods:     []string{http.MethodGet, http.MethodPost, http.MethodDelete},
		AllowHeaders:     []string{"Authorization", "Content-Type", "Last-Event-ID", "Cache-Control"},
		ExposeHeaders:    []string{"Retry-After"},
		AllowCredentials: true,
		MaxAge:           600,
	})
}
