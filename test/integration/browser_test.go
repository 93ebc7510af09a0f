package integration_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// askAs sends a request with these headers and returns the answer.
func askAs(t *testing.T, method, target string, headers http.Header, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	must(t, err)
	req.Header = headers
	resp, err := harness.Client.Do(req)
	must(t, err)
	resp.Body.Close()
	return resp
}

// A page of an allowed origin makes its token a cookie and opens a stream with
// it, as EventSource does with credentials. A page of another site cannot, and
// holds no stream by trying.
func TestSessionFromAnotherOrigin(t *testing.T) {
	t.Parallel()
	const app, evil = "https://app.example.com", "https://evil.example"
	onBothPaths(t, setup{replicas: 1, flags: []string{"--allowed-origins", app, "--cookie-same-site", "none"}}, func(t *testing.T, f *fixture) {
		ch := "project:session:tasks"
		token := harness.Token{Sub: "alice", Subscribe: []string{"**"}, Publish: []string{"**"}}.Sign()
		r := askAs(t, http.MethodPost, f.url(0)+"/v1/session", http.Header{"Authorization": {"Bearer " + token}, "Origin": {app}}, "")
		if r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Origin") != app || r.Header.Get("Access-Control-Allow-Credentials") != "true" {
			t.Fatalf("a session is answered %s, %v", r.Status, r.Header)
		}
		cookie := r.Header.Get("Set-Cookie")
		if !strings.HasPrefix(cookie, "gateway_token="+token+"; Path=/v1; Max-Age=") || !strings.HasSuffix(cookie, "; HttpOnly; Secure; SameSite=None") {
			t.Fatalf("the cookie is %q", cookie)
		}
		pair, _, _ := strings.Cut(cookie, ";")
		from := func(origin, site string) harness.Subscribe {
			return harness.Subscribe{Channels: []string{ch}, Header: http.Header{"Cookie": {pair}, "Origin": {origin}, "Sec-Fetch-Site": {site}}}
		}
		s := open(t, f.url(0), from(app, "same-site"))
		h := s.Header
		if h.Get("Access-Control-Allow-Origin") != app || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Cache-Control") != "no-store, no-transform" ||
			h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("the stream's header is %v", h)
		}
		if vary := h.Get("Vary"); vary != "Authorization, Cookie, Origin" {
			t.Errorf("the stream varies with %q", vary)
		}
		count(t, f, ch, 1, 1)
		waitNumber(t, s, ch, 1)
		s.Close()
		wantMetric(t, f.replicas[0], "gateway_connections", "0")

		for _, sub := range []harness.Subscribe{from(evil, "cross-site"), from("https://blog.example.com", "same-site"), from("null", "cross-site")} {
			for _, mode := range []string{"stream", "poll"} {
				sub.Query = url.Values{"mode": {mode}}
				refused := connect(t, f.url(0), sub)
				wantProblem(t, answer{refused.Status, refused.Header, refused.Problem}, http.StatusForbidden)
				if refused.Header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s may read the refusal", sub.Header.Get("Origin"))
				}
			}
		}
		if opened, err := metric(f.replicas[0], "gateway_streams_opened_total"); err != nil || opened != "1" {
			t.Errorf("%s streams began, %v, want the first alone", opened, err)
		}
		// A page of the gateway's own origin, as a browser of today and an older
		// one send it.
		own := open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Header: http.Header{"Cookie": {pair}, "Sec-Fetch-Site": {"same-origin"}}})
		own.Close()
		own = open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Header: http.Header{"Cookie": {pair}, "Origin": {f.url(0)}}})
		own.Close()
		// Errors can be read by who is allowed.
		bad := connect(t, f.url(0), harness.Subscribe{Channels: []string{"a b"}, Header: http.Header{"Origin": {app}}})
		wantProblem(t, answer{bad.Status, bad.Header, bad.Problem}, http.StatusBadRequest)
		if bad.Header.Get("Access-Control-Allow-Origin") != app {
			t.Errorf("the error's header is %v", bad.Header)
		}
	})
}

// Whatever comes with a token, good, bad or failing: neither the log nor the
// metrics nor an answer repeat it.
func TestTokensAreToldToNobody(t *testing.T) {
	t.Parallel()
	onBothPaths(t, setup{replicas: 1, flags: []string{"--log-level", "debug", "--drain-time", "0s"}}, func(t *testing.T, f *fixture) {
		g := f.replicas[0]
		ch := "project:secret:tasks"
		good := harness.Token{Sub: "alice", Subscribe: []string{"**"}, Publish: []string{"**"}}.Sign()
		expired := harness.Token{Sub: "alice", Subscribe: []string{"**"}, Expires: time.Now().Add(-time.Hour)}.Sign()
		short := harness.Token{Sub: "bob", Subscribe: []string{"**"}, Expires: time.Now().Add(2 * time.Second)}.Sign()
		marker := "MARKERthatNobodyMayRepeat"
		var secrets []string
		for _, token := range []string{good, expired, short} {
			secrets = append(secrets, token, token[strings.LastIndexByte(token, '.')+1:])
		}
		secrets = append(secrets, marker)
		silent := func(where, text string) {
			t.Helper()
			for _, s := range secrets {
				if at := strings.Index(text, s); at >= 0 {
					t.Errorf("%s repeats a token: …%s…", where, text[max(0, at-200):min(len(text), at+50)])
				}
			}
		}
		each := func(token string, try func(where string, sub harness.Subscribe)) {
			try("header", harness.Subscribe{Header: bearer(token)})
			try("cookie", harness.Subscribe{Header: http.Header{"Cookie": {"gateway_token=" + token}}})
			try("query", harness.Subscribe{Query: url.Values{"token": {token}}})
		}
		for _, token := range []string{good, short, expired, marker, marker + "." + marker + "." + marker, marker + "\"%zz", strings.Repeat(marker, 1000)} {
			each(token, func(where string, sub harness.Subscribe) {
				for _, channels := range [][]string{{ch}, {"unknown:channel"}, {"a b"}, nil} {
					sub.Channels = channels
					s := connect(t, g.URL(), sub)
					silent("the answer to a token in the "+where, s.Problem)
					s.Close()
				}
				for _, header := range []http.Header{{"Origin": {"https://evil.example"}}, {"Last-Event-Id": {"nonsense"}}} {
					sub.Channels = []string{ch}
					for name, values := range sub.Header {
						header[name] = values
					}
					sub.Header = header
					s := connect(t, g.URL(), sub)
					silent("the answer to a token in the "+where, s.Problem)
					s.Close()
				}
			})
		}
		for _, target := range []string{
			"/v1/events?channel=" + ch + "&tokens=" + marker, "/v1/events?channel=" + ch + "&token=" + marker + "%zz", "/v1/events?channel=a;token=" + marker,
			"/v1/nothing?token=" + marker, "/v1/session?token=" + good, "/v1/channels/" + ch + "/events?token=" + good + "&limit=x",
			"/v1/channels/" + ch + "/events?token=" + good + "&eventId=%00", "/v1/channels/" + ch + "/events?token=" + expired,
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
				silent("the answer to "+method, ask(t, method, g.URL()+target, "", "x").body)
			}
		}
		// What net/http refuses by itself, and what it would log.
		for _, text := range []string{
			"GET /v1/events?token=" + marker + " HTTP/1.1\r\nHost: x\r\nCookie: gateway_token=" + marker + "\r\nbad line " + marker + "\r\n\r\n",
			"GET /v1/events?token=" + marker + " HTTP/9.9\r\nHost: x\r\n\r\n",
			"GET /v1/events?token=" + marker + " HTTP/1.1\r\nHost: x\r\nCookie: gateway_token=" + marker + "\nX: y\r\n\r\n",
			"GET /v1/events?channel=" + ch + "&token=" + good + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
		} {
			w := dial(t, g, text)
			r := w.answer(t)
			if r.StatusCode < 400 {
				t.Errorf("%q is answered %s", text, r.Status)
			}
			var b strings.Builder
			must(t, r.Write(&b))
			silent("a refusal", b.String())
			w.Close()
		}
		// A stream that ends with its token, and requests that fail.
		s := open(t, g.URL(), harness.Subscribe{Channels: []string{ch}, Query: url.Values{"token": {good}}})
		must(t, f.redis.Kill())
		failing := ask(t, http.MethodGet, g.URL()+"/v1/channels/"+ch+"/events?token="+good, "", "")
		if failing.status != http.StatusServiceUnavailable {
			t.Errorf("without Redis: %d %s", failing.status, failing.body)
		}
		silent("a failure", failing.body)
		silent("a failure", ask(t, http.MethodGet, g.URL()+"/v1/channels/"+ch+"/events", good, "").body)
		s.Close()
		_, metrics, err := g.Ops("/metrics")
		must(t, err)
		silent("/metrics", metrics)
		code, err := g.Process().Terminate()
		must(t, err)
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
		log := g.Log.String()
		silent("the log", log)
		if !strings.Contains(log, `"level":"DEBUG"`) || !strings.Contains(log, "a request failed") {
			t.Errorf("the log is not of debugging a failure: %s", log)
		}
	})
}
