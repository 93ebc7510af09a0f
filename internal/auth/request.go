package auth

import (
	"net/http"
	"strings"
)

// DefaultCookie is the cookie that carries the token unless another is
// configured.
const DefaultCookie = "gateway_token"

// malformed stands for a token that was sent in a form nobody can read. It is
// not a JWT, so Verify refuses it.
const malformed = "malformed"

// Source is where a request carried its token.
type Source int

// The sources. Only a cookie is sent by the browser itself, whatever page the
// request comes from: its holder may not know of the request.
const (
	FromNowhere Source = iota // there is no token
	FromHeader
	FromCookie
	FromQuery
)

// FromRequest returns the token that r carries, unverified, from the first of
// these that is there: the header "Authorization: Bearer", the cookie (if the
// name is empty, DefaultCookie), the query parameter "token". Without any, it
// is from nowhere. An empty cookie or parameter counts as none.
//
// Who sends an Authorization header means it: where it is malformed, the
// result is a token that Verify refuses, not the next source. Only a header of
// another scheme, such as the Basic of a proxy in front, is not ours and is
// passed over.
func FromRequest(r *http.Request, cookie string) (token string, from Source) {
	if token, ok := fromHeader(r.Header.Values("Authorization")); ok {
		return token, FromHeader
	}
	if cookie == "" {
		cookie = DefaultCookie
	}
	for _, c := range r.CookiesNamed(cookie) {
		if c.Value != "" {
			return c.Value, FromCookie
		}
	}
	if token := r.URL.Query().Get("token"); token != "" {
		return token, FromQuery
	}
	return "", FromNowhere
}

func fromHeader(values []string) (token string, ok bool) {
	switch {
	case len(values) == 0:
		return "", false
	case len(values) > 1:
		return malformed, true // which one counts is anybody's guess
	}
	value := strings.Trim(values[0], " \t")
	if value == "" {
		return "", false
	}
	scheme, token, found := strings.Cut(value, " ")
	token = strings.TrimLeft(token, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		if token == "" {
			return malformed, true
		}
		return token, true
	case !found:
		return malformed, true // a bare token, perhaps
	}
	return "", false
}
