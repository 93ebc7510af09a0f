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

// FromRequest returns the token that r carries, unverified, from the first of
// these that is there: the header "Authorization: Bearer", the cookie (if the
// name is empty, DefaultCookie), the query parameter "token". Without any, ok
// is false. An empty cookie or parameter counts as none.
//
// Who sends an Authorization header means it: where it is malformed, the
// result is a token that Verify refuses, not the next source. Only a header of
// another scheme, such as the Basic of a proxy in front, is not ours and is
// passed over.
func FromRequest(r *http.Request, cookie string) (token string, ok bool) {
	if token, ok := fromHeader(r.Header.Values("Authorization")); ok {
		return token, true
	}
	if cookie == "" {
		cookie = DefaultCookie
	}
	for _, c := range r.CookiesNamed(cookie) {
		if c.Value != "" {
			return c.Value, true
		}
	}
	if token := r.URL.Query().Get("token"); token != "" {
		return token, true
	}
	return "", false
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
