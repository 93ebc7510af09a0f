package httpapi

import (
	"net/http"
	"strings"

	"realtime-gateway/internal/origin"
)

// allows tells whether pages of an origin that is not the gateway's own may use
// it with the credentials of their visitors.
func (a *api) allows(o string) bool {
	if a.Dev != nil {
		if _, host := origin.HostOf(o); origin.IsLoopback(host) {
			return true
		}
	}
	return a.AllowedOrigins.Allows(o)
}

// ownPage refuses a request whose token the browser sent by itself, unless a
// page of the gateway's own or an allowed origin caused it: any site can make
// its visitors' browsers send requests, and open streams.
//
// Browsers since 2023 say by Sec-Fetch-Site who caused a request, where the
// gateway is reached by https or on localhost, and pages cannot forge it.
// Otherwise Origin decides, which they send with every POST and DELETE, and
// with every GET whose answer another origin is to read. Who sends neither is no
// browser, or the request is of the same origin, or the cross-site GET of a page
// that cannot read the answer: such are let in, POST too, as
// net/http.CrossOriginProtection does it. Unlike that, a GET is judged as well:
// it could hold a stream.
func (a *api) ownPage(r *http.Request) error {
	origins, sites := r.Header.Values("Origin"), r.Header.Values("Sec-Fetch-Site")
	switch {
	case len(origins) == 1 && a.allows(origins[0]):
		return nil
	case len(sites) == 1 && (sites[0] == "same-origin" || sites[0] == "none"): // none: typed by the user
		return nil
	case len(sites) == 0 && len(origins) == 0:
		return nil
	case len(sites) == 0 && len(origins) == 1 && isOwn(r, origins[0]):
		return nil
	}
	named := "an origin that the browser does not name"
	if all := strings.Join(origins, ", "); all != "" {
		named = "the origin " + quote(all[:min(len(all), 200)])
	}
	return problem(http.StatusForbidden, "a page of "+named+" may not use the session of its visitor: list the origin in allowed-origins (GATEWAY_ALLOWED_ORIGINS), or send the token as Authorization: Bearer")
}

// isOwn tells whether an origin is that of the request's own target. Behind a
// proxy that ends TLS the gateway does not know its scheme.
func isOwn(r *http.Request, o string) bool {
	scheme, host := origin.HostOf(o)
	return host != "" && strings.EqualFold(host, r.Host) && (r.TLS == nil || scheme == "https")
}
