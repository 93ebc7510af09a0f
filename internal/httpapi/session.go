package httpapi

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/origin"
)

// maxCookie is what browsers keep. RFC 6265, section 6.1: "At least 4096 bytes
// per cookie (as measured by the sum of the length of the cookie's name, value,
// and attributes)."
const maxCookie = 4096

// openSession serves POST /v1/session: it hands the token of the request back
// as a cookie, because an EventSource can send no header. Only the header is
// taken: a page of another site could send a cookie or a query without being
// asked by anyone.
func (a *api) openSession(c echo.Context) error {
	r := c.Request()
	if err := a.ownPage(r); err != nil {
		return err
	}
	token, from := auth.FromRequest(r, a.TokenCookie)
	switch {
	case a.Verifier == nil && a.Open:
		return c.NoContent(http.StatusNoContent) // nobody needs a token
	case a.Verifier == nil:
		return problem(http.StatusUnauthorized, "this gateway verifies no tokens, so it keeps none")
	case from != auth.FromHeader:
		return problem(http.StatusUnauthorized, "send the token as Authorization: Bearer; it comes back as a cookie")
	}
	claims, err := a.verify(r.Context(), token)
	if err != nil {
		return err
	}
	in, err := a.enter(r.Context(), claims)
	if err != nil {
		return err
	}
	in.Release() // nothing stays open
	cookie := a.cookie(r, token)
	if !claims.Expires.IsZero() {
		cookie.MaxAge = max(1, int(claims.Expires.Sub(a.Now()).Seconds()))
	}
	text := cookie.String()
	if len(text) > maxCookie {
		return malformed("the token makes a cookie of " + strconv.Itoa(len(text)) + " bytes, and browsers keep " + strconv.Itoa(maxCookie) +
			": issue one with fewer claims, or send it as Authorization: Bearer")
	}
	c.Response().Header().Set("Set-Cookie", text)
	return c.NoContent(http.StatusNoContent)
}

// closeSession serves DELETE /v1/session: it clears the cookie. Open streams
// stay until the token ends.
func (a *api) closeSession(c echo.Context) error {
	r := c.Request()
	if err := a.ownPage(r); err != nil {
		return err
	}
	cookie := a.cookie(r, "")
	cookie.MaxAge = -1 // written as 0
	c.SetCookie(cookie)
	return c.NoContent(http.StatusNoContent)
}

// cookie returns the session cookie with this value.
func (a *api) cookie(r *http.Request, value string) *http.Cookie {
	c := &http.Cookie{Name: a.cookieName(), Value: value, Path: "/v1", HttpOnly: true, Secure: true, SameSite: a.CookieSameSite}
	// RFC 6265bis, section 4.1.3.2: a name with __Host- asks for the attributes
	// Secure and Path=/, and no Domain.
	host, prefixed := hasPrefixFold(c.Name, "__Host-"), hasPrefixFold(c.Name, "__")
	if host {
		c.Path = "/"
	}
	// Not every browser takes Secure over plain HTTP on loopback. SameSite=None
	// and the names with a prefix need it all the same.
	if a.Dev != nil && r.TLS == nil && origin.IsLoopback(r.Host) && !prefixed && c.SameSite != http.SameSiteNoneMode {
		c.Secure = false
	}
	return c
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
