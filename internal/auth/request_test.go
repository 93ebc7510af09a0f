package auth

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestFromRequest(t *testing.T) {
	for _, tt := range []struct {
		name          string
		authorization []string
		cookies       string
		query         string
		want          string // "": none
		from          Source
	}{
		{"nothing", nil, "", "", "", FromNowhere},
		{"header", []string{"Bearer a.b.c"}, "", "", "a.b.c", FromHeader},
		{"header, other case", []string{"bEARER a.b.c"}, "", "", "a.b.c", FromHeader},
		{"header, several spaces", []string{"  Bearer   a.b.c "}, "", "", "a.b.c", FromHeader},
		{"cookie", nil, "other=x; gateway_token=a.b.c", "", "a.b.c", FromCookie},
		{"query", nil, "", "channel=x&token=a.b.c", "a.b.c", FromQuery},
		{"header before cookie before query", []string{"Bearer h"}, "gateway_token=c", "token=q", "h", FromHeader},
		{"cookie before query", nil, "gateway_token=c", "token=q", "c", FromCookie},
		{"first of several cookies", nil, "gateway_token=c; gateway_token=d", "", "c", FromCookie},
		{"first cookie that is not empty", nil, "gateway_token=; gateway_token=d", "", "d", FromCookie},
		{"empty cookie", nil, "gateway_token=", "token=q", "q", FromQuery},
		{"empty query", nil, "", "token=", "", FromNowhere},
		{"cookie of another name", nil, "token=c; Gateway_token=d", "", "", FromNowhere},
		{"empty header", []string{""}, "gateway_token=c", "", "c", FromCookie},
		{"other scheme", []string{"Basic dXNlcjpwYXNz"}, "gateway_token=c", "", "c", FromCookie},
		{"other scheme alone", []string{"Basic dXNlcjpwYXNz"}, "", "", "", FromNowhere},
		{"scheme alone", []string{"Bearer"}, "gateway_token=c", "token=q", malformed, FromHeader},
		{"scheme and spaces", []string{"Bearer   "}, "gateway_token=c", "token=q", malformed, FromHeader},
		{"token without scheme", []string{"a.b.c"}, "gateway_token=c", "token=q", malformed, FromHeader},
		{"two headers", []string{"Bearer a", "Bearer b"}, "gateway_token=c", "token=q", malformed, FromHeader},
		{"two headers, one ours", []string{"Basic a", "Bearer b"}, "gateway_token=c", "", malformed, FromHeader},
		{"two tokens", []string{"Bearer a b"}, "gateway_token=c", "token=q", "a b", FromHeader},
		{"tab for a space", []string{"Bearer\ta.b.c"}, "gateway_token=c", "token=q", malformed, FromHeader},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/v1/events?"+tt.query, nil)
			for _, value := range tt.authorization {
				r.Header.Add("Authorization", value)
			}
			if tt.cookies != "" {
				r.Header.Set("Cookie", tt.cookies)
			}
			got, from := FromRequest(r, "")
			if got != tt.want || from != tt.from {
				t.Errorf("FromRequest = %q, %v, want %q, %v", got, from, tt.want, tt.from)
			}
		})
	}
	t.Run("configured cookie", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", "gateway_token=c; session=s")
		if got, _ := FromRequest(r, "session"); got != "s" {
			t.Errorf("FromRequest = %q, want s", got)
		}
	})
	t.Run("verifier refuses what is malformed", func(t *testing.T) {
		wantBad(t, newVerifier(t, Options{Secret: testSecret}), malformed, ReasonMalformed)
	})
}

func FuzzFromRequest(f *testing.F) {
	f.Add(true, "Bearer a.b.c", "gateway_token=c", "token=q")
	f.Add(true, "Bearer", "gateway_token=c", "token=q")
	f.Add(true, "bearer \t x", `gateway_token="c d"`, "token=%zz&token=a;b")
	f.Add(true, "Basic dXNlcjpwYXNz", "gateway_token=; gateway_token=x", "")
	f.Add(true, "Bearer\x00x", "=; ;;", "?&&=token")
	f.Add(false, "", "", "")
	f.Fuzz(func(t *testing.T, header bool, authorization, cookies, query string) {
		r := &http.Request{Header: http.Header{"Cookie": {cookies}}, URL: &url.URL{RawQuery: query}}
		if header {
			r.Header["Authorization"] = []string{authorization}
		}
		token, from := FromRequest(r, "")
		if (from == FromNowhere) != (token == "") {
			t.Fatalf("FromRequest = %q, %v", token, from)
		}
		again, _ := FromRequest(r, "")
		if again != token {
			t.Fatalf("FromRequest = %q, then %q", token, again)
		}
		trimmed := strings.Trim(authorization, " \t")
		if header && (strings.HasPrefix(strings.ToLower(trimmed), "bearer ") || trimmed != "" && !strings.Contains(trimmed, " ")) {
			if from != FromHeader || token != malformed && !strings.HasSuffix(trimmed, token) {
				t.Fatalf("FromRequest = %q, %v, want the header %q to decide", token, from, authorization)
			}
		}
	})
}
