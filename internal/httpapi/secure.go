package httpapi

import (
	"net/http"
	"strings"
)

// secure returns h such that every answer has what keeps tokens and events
// from leaking through browsers and caches. The ResponseWriter stays the
// server's own.
func secure(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Referrer-Policy", "no-referrer") // a token may be in the query
		header.Set("X-Content-Type-Options", "nosniff")
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			header.Set("Cache-Control", "no-store")
			header.Set("Vary", "Authorization, Cookie, Origin")
		}
		// RFC 9112, section 6.1, of Transfer-Encoding beside Content-Length: "the
		// server MUST close the connection after responding to such a request to
		// avoid the potential attacks." net/http does not tell of the second.
		if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
			header.Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}
