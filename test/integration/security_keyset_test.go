package integration_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// es256 is a token of a key in a key set.
func es256(key any, kid string) string {
	return forge("ES256", key, `{"alg":"ES256","kid":"`+kid+`"}`, greedy())
}

// wantTemporary checks that a token is refused as what may pass: by a stream
// that says so and ends, after which an EventSource comes back, and by 503
// elsewhere.
func wantTemporary(t *testing.T, base, token string) {
	t.Helper()
	s := connect(t, base, harness.Subscribe{Channels: []string{coveted}, Header: bearer(token)})
	if s.Status != http.StatusOK {
		t.Fatalf("status %d, want a stream that ends: %s", s.Status, s.Problem)
	}
	v := waitEnd(t, s, harness.Deadline)
	if len(v.Events) != 1 || v.Events[0].Name != "gateway.close" || v.Events[0].Reason != "unavailable" || len(v.Retries) != 1 {
		t.Fatalf("want a retry and one gateway.close, unavailable: %s", v)
	}
	for _, a := range []answer{
		knock(t, http.MethodGet, base+"/v1/events?mode=poll&channel="+coveted, bearer(token), ""),
		knock(t, http.MethodGet, of(base, coveted), bearer(token), ""),
		knock(t, http.MethodPost, of(base, coveted), bearer(token), "forged"),
	} {
		wantProblem(t, a, http.StatusServiceUnavailable)
		if a.header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
	}
}

// soon waits until a token has this status.
func soon(t *testing.T, what, base, token string, status int) {
	t.Helper()
	must(t, harness.Until(what, 2*harness.Deadline, func() error {
		// History answers at once, whoever asks.
		if a := knock(t, http.MethodGet, of(base, coveted), bearer(token), ""); a.status != status {
			return fmt.Errorf("status %d, want %d: %s", a.status, status, a.body)
		}
		return nil
	}))
}

// A new key counts as soon as a token names it, and one that was withdrawn no
// longer than until then.
func TestSecurityKeySetRotation(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t, keySet(jwk(ecKey().Public(), "old")))
	f := own(t, setup{replicas: 1, env: []string{"GATEWAY_JWT_SECRET=", "GATEWAY_JWKS_URL=" + keys.URL}})
	base := f.url(0)
	wantEntry(t, base, es256(ecKey(), "old"))
	wantNoEntry(t, base, es256(nextKey(), "old")) // a name is not a key

	keys.publish(keySet(jwk(nextKey().Public(), "new")))
	wantEntry(t, base, es256(nextKey(), "new"))
	soon(t, "the old key stops working", base, es256(ecKey(), "old"), http.StatusUnauthorized)
	wantNoEntry(t, base, es256(ecKey(), "new"))
	wantEntry(t, base, es256(nextKey(), "new"))
}

// Names of keys are names: nothing is opened, queried or guessed by them.
func TestSecurityKeyIDs(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t, keySet(jwk(ecKey().Public(), "a"), jwk(nextKey().Public(), "b"), jwk(rsaKey().Public(), "r")))
	f := own(t, setup{replicas: 1, env: []string{"GATEWAY_JWT_SECRET=", "GATEWAY_JWKS_URL=" + keys.URL}})
	base := f.url(0)
	check := undisturbed(t, f, base, es256(ecKey(), "a"))
	wantEntry(t, base, es256(nextKey(), "b"))
	// With one key of the type no name is needed, with several it is.
	wantEntry(t, base, forge("RS256", rsaKey(), `{"alg":"RS256"}`, greedy()))

	// Refused for good, and without asking anybody.
	before := keys.asked.Load()
	for name, header := range map[string]string{
		"another key's": `"kid":"b"`, "a key's of another type": `"kid":"r"`, "none, of several": `"typ":"JWT"`,
		"empty": `"kid":""`, "null": `"kid":null`, "a number": `"kid":7`, "a list": `"kid":["a"]`, "an object": `"kid":{"a":1}`,
		"twice, the wrong one last": `"kid":"a","kid":"b"`,
	} {
		t.Run(name, func(t *testing.T) {
			wantNoEntry(t, base, forge("ES256", ecKey(), `{"alg":"ES256",`+header+`}`, greedy()))
		})
	}
	if n := keys.asked.Load() - before; n > 0 {
		t.Errorf("the key set was asked for %d times", n)
	}
	// Nobody knows these; they may be new, so the answer may be temporary.
	for name, kid := range map[string]string{
		"path": "../../../../../../etc/passwd", "device": "/dev/null", "URL": "http://127.0.0.1:1/key", "SQL": "a' OR '1'='1", "SQL union": "x' UNION SELECT 'secret';--",
		"command": "a|id;$(id)`id`", "template": "{{7*7}}${7*7}", "NUL": `a\u0000`, "line break": `a\r\nX-Forged: 1`, "space": "a ", "case": "A",
		"long": strings.Repeat("a", 10<<10), "glob": "*", "JSON": `{\"$ne\":null}`, "not UTF-8": "a\xff",
	} {
		t.Run(name, func(t *testing.T) {
			for _, token := range []string{
				forge("ES256", ecKey(), `{"alg":"ES256","kid":"`+kid+`"}`, greedy()),
				forge("ES256", stranger(), `{"alg":"ES256","kid":"`+kid+`"}`, greedy()),
			} {
				for _, a := range []answer{
					knock(t, http.MethodGet, of(base, coveted), bearer(token), ""),
					knock(t, http.MethodPost, of(base, coveted), bearer(token), "forged"),
				} {
					if a.status != http.StatusUnauthorized && a.status != http.StatusServiceUnavailable {
						t.Errorf("status %d, want 401 or 503: %s", a.status, a.body)
					}
				}
				s := connect(t, base, harness.Subscribe{Channels: []string{coveted}, Header: bearer(token)})
				if s.Status == http.StatusOK {
					if v := waitEnd(t, s, harness.Deadline); len(v.Events) != 1 || v.Events[0].Name != "gateway.close" {
						t.Errorf("want nothing but gateway.close: %s", v)
					}
				} else {
					wantProblem(t, answer{s.Status, s.Header, s.Problem}, http.StatusUnauthorized)
				}
			}
			wantNoEntry(t, base, forge("HS256", []byte{}, `{"alg":"HS256","kid":"`+kid+`"}`, greedy()))
		})
	}
	check()
}

// While nobody can tell, everybody with a token is asked to come back, and who
// needs none is served.
func TestSecurityKeySetAwayAtTheStart(t *testing.T) {
	t.Parallel()
	addr, err := harness.FreeAddr()
	must(t, err)
	f := own(t, setup{replicas: 1})
	g := withKeys(t, f, "GATEWAY_JWKS_URL=http://"+addr+"/keys")
	must(t, harness.Until("the gateway serves public channels", 2*harness.Deadline, func() error {
		s, err := harness.Open(g.URL(), on("hist:away"))
		if err != nil {
			return err
		}
		defer s.Close()
		_, err = s.Wait("a stream", time.Second, func(v harness.View) bool { return len(v.Named("gateway.open")) > 0 })
		return err
	}))
	token := es256(ecKey(), "a")
	wantTemporary(t, g.URL(), token)
	wantNoEntry(t, g.URL(), harness.Token{Sub: "a", Subscribe: []string{"**"}}.Sign()) // of a kind that no key set has
	status, body, err := g.Ops("/readyz")
	if must(t, err); status != http.StatusServiceUnavailable || !strings.Contains(body, "tokens") {
		t.Errorf("/readyz is %d without the keys of tokens: %s", status, body)
	}
	if n, err := f.db().XLen(t.Context(), "gw:"+coveted).Result(); err != nil || n != 0 {
		t.Errorf("refused publishes have written %d entries (%v)", n, err)
	}

	// It comes, and nobody has to start anything again.
	l, err := net.Listen("tcp", addr)
	must(t, err)
	late := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(keySet(jwk(ecKey().Public(), "a"))))
	}))
	must(t, late.Listener.Close())
	late.Listener = l
	late.Start()
	defer late.Close()
	soon(t, "the keys arrive", g.URL(), token, http.StatusOK)
	wantEntry(t, g.URL(), token)
	must(t, g.WaitReady())
}

// Whatever the key set's address answers later, the keys that are known go on,
// unknown ones are nobody's, and a good answer ends it.
func TestSecurityKeySetTrouble(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1})
	elsewhere := noVisitors(t)
	for name, trouble := range map[string]http.HandlerFunc{
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"hangs in the middle": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[`))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"garbage":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>\x00\xff</html>")) },
		"an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"no keys":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(keySet(jwk(nextKey().Public(), "new"))[:40]))
		},
		"no key set": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(jwk(nextKey().Public(), "new")) },
		"only a secret": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{"kty":"oct","kid":"new","alg":"ES256","k":"AAAA"}]}`))
		},
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(keySet(jwk(nextKey().Public(), "new"))))
			space := []byte(strings.Repeat(" ", 64<<10))
			for range 1000 { // ends earlier, when the gateway hangs up
				if _, err := w.Write(space); err != nil {
					return
				}
			}
		},
		"deeply nested": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":` + strings.Repeat("[", 200_000)))
		},
		"redirects in circle": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) },
		"redirects to a file": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := newIssuer(t, keySet(jwk(ecKey().Public(), "known")))
			t.Cleanup(keys.CloseClientConnections) // its Close waits for those that hang
			g := withKeys(t, f, "GATEWAY_JWKS_URL="+keys.URL+"/keys")
			must(t, g.WaitReady())
			base := g.URL()
			wantEntry(t, base, es256(ecKey(), "known"))
			keys.answer(trouble)
			wantTemporary(t, base, es256(nextKey(), "new"))
			wantTemporary(t, base, forge("ES256", stranger(), `{"alg":"ES256","kid":"new","jku":"`+elsewhere+`"}`, greedy()))
			wantEntry(t, base, es256(ecKey(), "known"))
			wantNoEntry(t, base, es256(stranger(), "known"))
			keys.publish(keySet(jwk(nextKey().Public(), "new")))
			soon(t, "the new key arrives", base, es256(nextKey(), "new"), http.StatusOK)
			if n := keys.asked.Load(); n > 40 {
				t.Errorf("the key set was asked for %d times", n)
			}
		})
	}
}

// A storm of tokens with invented key ids does not become one of requests to
// the issuer, and delays nobody whose key is known.
func TestSecurityUnknownKeyStorm(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t, keySet(jwk(ecKey().Public(), "known")))
	f := own(t, setup{replicas: 1, env: []string{"GATEWAY_JWT_SECRET=", "GATEWAY_JWKS_URL=" + keys.URL}})
	base := f.url(0)
	started := time.Now()
	check := undisturbed(t, f, base, es256(ecKey(), "known"))
	var storm sync.WaitGroup
	for worker := range 10 {
		storm.Go(func() {
			for i := range 40 {
				a, err := tryAsk(context.Background(), http.MethodGet, of(base, coveted), es256(stranger(), fmt.Sprintf("invented-%d-%d", worker, i)), "")
				if err != nil || a.status != http.StatusUnauthorized && a.status != http.StatusServiceUnavailable {
					t.Errorf("status %d (%v), want 401 or 503: %s", a.status, err, a.body)
				}
			}
		})
	}
	for range 10 {
		wantEntry(t, base, es256(ecKey(), "known"))
	}
	storm.Wait()
	// One at the start, three at once, and one in ten seconds.
	if n, most := keys.asked.Load(), int64(4+1+time.Since(started)/(10*time.Second)); n > most {
		t.Errorf("400 tokens had the key set fetched %d times, want at most %d", n, most)
	}
	check()
}
