package integration_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// coveted is the channel that strangers are after. Nothing is ever published
// there but what the tests count.
const coveted = "project:coveted:tasks"

// greedy are claims that would open everything, if anybody believed them.
func greedy() string {
	return fmt.Sprintf(`{"sub":"mallory","exp":%d,"gateway":{"subscribe":["**"],"publish":["**"]}}`, time.Now().Add(time.Hour).Unix())
}

// knock asks with these headers. Of a stream, the body is not read.
func knock(t *testing.T, method, target string, header http.Header, body string) answer {
	t.Helper()
	if method == http.MethodGet {
		body = "" // takes none
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	must(t, err)
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := harness.Client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		a.body = string(text)
	}
	return a
}

// inHeader are the tokens that a header can carry unchanged.
var inHeader = regexp.MustCompile(`^[A-Za-z0-9._=/+-]+$`)

// wantNoEntry checks that a token opens nothing on a gateway: no stream, poll,
// history or publishing, not even of a public channel, however it is sent. The
// refusals must not repeat it.
func wantNoEntry(t *testing.T, base, token string) {
	t.Helper()
	query := url.Values{"token": {token}}.Encode()
	type try struct {
		what, method, target string
		header               http.Header
	}
	tries := []try{
		{"stream", http.MethodGet, "/v1/events?channel=" + coveted + "&" + query, nil},
		{"public stream", http.MethodGet, "/v1/events?channel=hist:coveted&" + query, nil},
		{"poll", http.MethodGet, "/v1/events?mode=poll&channel=" + coveted + "&" + query, nil},
		{"history", http.MethodGet, "/v1/channels/" + coveted + "/events?" + query, nil},
		{"publish", http.MethodPost, "/v1/channels/" + coveted + "/events?" + query, nil},
	}
	if inHeader.MatchString(token) {
		tries = append(tries,
			try{"stream, header", http.MethodGet, "/v1/events?channel=" + coveted, bearer(token)},
			try{"stream, cookie", http.MethodGet, "/v1/events?channel=" + coveted, http.Header{"Cookie": {"gateway_token=" + token}}},
			try{"publish, header", http.MethodPost, "/v1/channels/" + coveted + "/events", bearer(token)},
			// A good token elsewhere does not help a bad one.
			try{"header before query", http.MethodGet, "/v1/events?channel=" + coveted + "&token=" + harness.Token{Sub: "a", Subscribe: []string{"**"}}.Sign(), bearer(token)})
	}
	for _, try := range tries {
		a := knock(t, try.method, base+try.target, try.header, "forged")
		if a.status != http.StatusUnauthorized {
			t.Errorf("%s: status %d, want 401: %.300s", try.what, a.status, a.body)
			continue
		}
		wantProblem(t, a, http.StatusUnauthorized)
		if len(token) > 12 && strings.Contains(a.body, token) {
			t.Errorf("%s: the refusal repeats the token", try.what)
		}
	}
}

// wantEntry checks that a token is taken for good, so that the refusals around
// it are for the reason that the test means.
func wantEntry(t *testing.T, base, token string) {
	t.Helper()
	s := open(t, base, harness.Subscribe{Channels: []string{coveted}, Header: bearer(token)})
	s.Close()
}

// undisturbed opens a stream of somebody with rights and returns what checks,
// at the test's end, that nothing but the owner's events came to it or was
// recorded.
func undisturbed(t *testing.T, f *fixture, base, token string) (check func()) {
	t.Helper()
	s := open(t, base, harness.Subscribe{Channels: []string{coveted}, Header: bearer(token)})
	count(t, f, coveted, 1, 1)
	waitNumber(t, s, coveted, 1)
	return func() {
		t.Helper()
		count(t, f, coveted, 2, 2)
		waitNumber(t, s, coveted, 2)
		wantNumbers(t, s.Now().Of(coveted), 1, 2)
		stillOpen(t, s)
		if n, err := f.db().XLen(t.Context(), "gw:"+coveted).Result(); err != nil || n != 2 {
			t.Errorf("the stream has %d entries (%v), want the 2 of its owner", n, err)
		}
	}
}

// Nothing but a token that the secret signed, in force and well formed, opens
// anything.
func TestSecurityForgedTokens(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1})
	base := f.url(0)
	const header = `{"alg":"HS256","typ":"JWT"}`
	good := hs256(header, greedy())
	parts := strings.Split(good, ".")
	wantEntry(t, base, good)
	check := undisturbed(t, f, base, good)

	claims := func(changes string) string {
		return hs256(header, strings.Replace(greedy(), "{", "{"+changes+",", 1))
	}
	// only gives the claims that are named and nothing else.
	only := func(payload string) string { return hs256(header, payload) }
	now := time.Now().Unix()
	other := hs256(header, strings.Replace(greedy(), "mallory", "alice", 1))
	tokens := map[string]string{
		"signature stripped":             parts[0] + "." + parts[1] + ".",
		"signature and dot stripped":     parts[0] + "." + parts[1],
		"signature cut by one":           good[:len(good)-1],
		"signature cut by half":          good[:len(good)-20],
		"signature of another token":     parts[0] + "." + parts[1] + "." + strings.Split(other, ".")[2],
		"payload of another token":       parts[0] + "." + strings.Split(other, ".")[1] + "." + parts[2],
		"header of another algorithm":    segment([]byte(`{"alg":"HS512","typ":"JWT"}`)) + "." + parts[1] + "." + parts[2],
		"garbage behind":                 good + "AAAA",
		"padding behind":                 good + "=",
		"a part behind":                  good + ".AAAA",
		"parts of a JWE":                 good + ".AAAA.AAAA",
		"space before":                   " " + good,
		"space behind":                   good + " ",
		"line break behind":              good + "\n",
		"line breaks inside":             good[:30] + "\r\n" + good[30:],
		"line break in the signature":    good[:len(good)-5] + "\n" + good[len(good)-5:],
		"NUL behind":                     good + "\x00",
		"tab inside":                     good[:30] + "\t" + good[30:],
		"the word Bearer twice":          "Bearer " + good,
		"JSON serialization":             `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"standard base64":                strings.NewReplacer("-", "+", "_", "/").Replace(hs256(header, strings.Replace(greedy(), "mallory", "ÿÿ>>??ÿþ~~~~", 1))),
		"another secret":                 forge("HS256", []byte("integration-tests-sign-with-another-secret-of-enough-bytes"), header, greedy()),
		"an empty secret":                forge("HS256", []byte{}, header, greedy()),
		"a secret of one NUL":            forge("HS256", []byte{0}, header, greedy()),
		"the secret and a line break":    forge("HS256", []byte(harness.Secret+"\n"), header, greedy()),
		"HS512 signed, HS256 said":       forge("HS512", []byte(harness.Secret), header, greedy()),
		"algorithm in lower case":        hs256(`{"alg":"hs256"}`, greedy()),
		"no algorithm":                   hs256(`{}`, greedy()),
		"algorithm null":                 hs256(`{"alg":null}`, greedy()),
		"algorithm a number":             hs256(`{"alg":256}`, greedy()),
		"algorithm a list":               hs256(`{"alg":["HS256"]}`, greedy()),
		"algorithm of no key here":       forge("ES256", stranger(), `{"alg":"ES256"}`, greedy()),
		"critical extension":             hs256(`{"alg":"HS256","crit":["exp"]}`, greedy()),
		"critical list that is empty":    hs256(`{"alg":"HS256","crit":[]}`, greedy()),
		"payload not encoded":            parts[0] + "." + greedy() + "." + parts[2],
		"header and a value behind":      hs256(`{"alg":"HS256"}{}`, greedy()),
		"header with a NUL behind":       hs256("{\"alg\":\"HS256\"}\x00", greedy()),
		"payload null":                   only(`null`),
		"payload a list":                 only(`[` + greedy() + `]`),
		"payload a string":               only(`"mallory"`),
		"payload twice":                  only(greedy() + greedy()),
		"payload not UTF-8":              only(strings.Replace(greedy(), "mallory", "\xff\xfe", 1)),
		"payload with a byte order mark": only("\ufeff" + greedy()),
		"huge":                           claims(`"x":"` + strings.Repeat("x", 20<<10) + `"`),

		"expired":                  only(fmt.Sprintf(`{"exp":%d,"gateway":{"subscribe":["**"]}}`, now-3600)),
		"not, then expired":        only(fmt.Sprintf(`{"exp":%d,"exp":%d,"gateway":{"subscribe":["**"]}}`, now+3600, now-3600)),
		"expired, EXP not":         only(fmt.Sprintf(`{"exp":%d,"EXP":%d,"gateway":{"subscribe":["**"]}}`, now-3600, now+3600)),
		"not yet valid":            claims(fmt.Sprintf(`"nbf":%d`, now+3600)),
		"expiry in 1970":           only(`{"exp":0,"gateway":{"subscribe":["**"]}}`),
		"expiry negative":          only(`{"exp":-1,"gateway":{"subscribe":["**"]}}`),
		"expiry in milliseconds":   only(fmt.Sprintf(`{"exp":%d000,"gateway":{"subscribe":["**"]}}`, now+3600)),
		"expiry beyond numbers":    only(`{"exp":1e999,"gateway":{"subscribe":["**"]}}`),
		"expiry a string":          only(fmt.Sprintf(`{"exp":"%d","gateway":{"subscribe":["**"]}}`, now+3600)),
		"expiry true":              only(`{"exp":true,"gateway":{"subscribe":["**"]}}`),
		"expiry null":              only(`{"exp":null,"gateway":{"subscribe":["**"]}}`),
		"not before, null":         claims(`"nbf":null`),
		"issuer a number":          claims(`"iss":7`),
		"audience an object":       claims(`"aud":{}`),
		"jti a number":             claims(`"jti":7`),
		"jti with a line break":    claims(`"jti":"a\nb"`),
		"rights null":              only(`{"gateway":null}`),
		"rights a list":            only(`{"gateway":["**"]}`),
		"rights a string":          only(`{"gateway":"**"}`),
		"pattern for a list":       only(`{"gateway":{"subscribe":"**"}}`),
		"patterns that are none":   only(`{"gateway":{"subscribe":[7]}}`),
		"pattern null":             only(`{"gateway":{"subscribe":["**",null]}}`),
		"patterns in an object":    only(`{"gateway":{"subscribe":{"0":"**"}}}`),
		"publish of a wrong type":  only(`{"gateway":{"subscribe":["**"],"publish":true}}`),
		"subject of 300 bytes":     only(`{"sub":"` + strings.Repeat("x", 300) + `","gateway":{"subscribe":["**"]}}`),
		"subject with NUL":         only(`{"sub":"alice\u0000","gateway":{"subscribe":["**"]}}`),
		"subject with line break":  only(`{"sub":"alice\r\nevent: gateway.close","gateway":{"subscribe":["**"]}}`),
		"subject with C1 control":  only(`{"sub":"alice\u0085","gateway":{"subscribe":["**"]}}`),
		"subject with a surrogate": only(`{"sub":"alice\ud800","gateway":{"subscribe":["**"]}}`),
	}
	for _, sub := range []string{`7`, `null`, `true`, `{}`, `["alice"]`} {
		tokens["subject "+sub] = only(`{"sub":` + sub + `,"gateway":{"subscribe":["**"]}}`)
	}
	for _, pattern := range []string{
		"", ":", "**:tasks", "project:**:tasks", "project:***", "project:**tasks", "project:co*ted:tasks", "project:{sub}*:tasks",
		"project:{su b}:tasks", "project:coveted:tasks\n", "project:coveted:task?", "project:%63oveted:tasks", "project:coveted:", "project::tasks",
		"project:(coveted|x):tasks", "project:..:coveted:tasks\x00", "project:" + strings.Repeat("x", 300),
	} {
		tokens[fmt.Sprintf("pattern %.30q", pattern)] = only(`{"gateway":{"subscribe":["**",` + string(generated(json.Marshal(pattern))) + `]}}`)
	}
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "none ", " none", "none\u0000", ""} {
		h := `{"alg":` + string(generated(json.Marshal(alg))) + `,"typ":"JWT"}`
		bare := segment([]byte(h)) + "." + segment([]byte(greedy()))
		tokens[fmt.Sprintf("alg %q", alg)] = bare + "."
		tokens[fmt.Sprintf("alg %q, two parts", alg)] = bare
		tokens[fmt.Sprintf("alg %q, signature of HS256", alg)] = hs256(h, greedy())
	}
	for name, token := range tokens {
		t.Run(name, func(t *testing.T) { wantNoEntry(t, base, token) })
	}
	check()
}

// What looks odd and is still good, or gives less than it seems to: the other
// side of the rules above.
func TestSecurityTokensAtTheEdge(t *testing.T) {
	t.Parallel()
	f := shared(t)
	base := f.url(0)
	const header = `{"alg":"HS256"}`
	now := time.Now().Unix()
	for _, tt := range []struct {
		name, token, channel string
		status               int
	}{
		// Which algorithms count is decided by the key: a secret is one for all of HS*.
		{"HS384 by the secret", forge("HS384", []byte(harness.Secret), `{"alg":"HS384"}`, greedy()), coveted, 200},
		{"HS512 by the secret", forge("HS512", []byte(harness.Secret), `{"alg":"HS512"}`, greedy()), coveted, 200},
		// Of two claims of a name the last counts (RFC 7519, 4).
		{"expired, then not", hs256(header, fmt.Sprintf(`{"exp":%d,"exp":%d,"gateway":{"subscribe":["**"]}}`, now-3600, now+3600)), coveted, 200},
		{"rights, then none", hs256(header, `{"gateway":{"subscribe":["**"]},"gateway":{}}`), coveted, 403},
		{"patterns, then none", hs256(header, `{"gateway":{"subscribe":["**"],"subscribe":[]}}`), coveted, 403},
		// The time of issue is no condition.
		{"issued in the far future", hs256(header, fmt.Sprintf(`{"iat":%d,"gateway":{"subscribe":["**"]}}`, now+1e8)), coveted, 200},
		{"headers that point to keys", hs256(`{"alg":"HS256","jku":"http://127.0.0.1:1/","kid":"../../../../dev/null"}`, greedy()), coveted, 200},

		{"rights in another case", hs256(header, `{"Gateway":{"subscribe":["**"]}}`), coveted, 403},
		{"patterns in another case", hs256(header, `{"gateway":{"Subscribe":["**"]}}`), coveted, 403},
		{"rights at the top", hs256(header, `{"subscribe":["**"]}`), coveted, 403},
		{"pattern in another case", hs256(header, `{"gateway":{"subscribe":["PROJECT:COVETED:TASKS"]}}`), coveted, 403},
		{"one segment", hs256(header, `{"gateway":{"subscribe":["*","project:*","project:coveted"]}}`), coveted, 403},
		{"more segments", hs256(header, `{"gateway":{"subscribe":["project:coveted:tasks:**","project:*:tasks:*"]}}`), coveted, 403},
		{"no rights, public", hs256(header, `{}`), "hist:edge", 200},
		{"no rights", hs256(header, `{}`), coveted, 403},
		{"no rights, authenticated", hs256(header, `{}`), "members:edge", 200},
		{"header deeply nested", hs256(`{"alg":"HS256","x":`+strings.Repeat("[", 4000)+strings.Repeat("]", 4000)+`}`, `{}`), coveted, 403},
		{"nobody's own channel", hs256(header, `{}`), "me:alice", 403},
		{"empty subject", hs256(header, `{"sub":""}`), "me:alice", 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a := knock(t, http.MethodGet, base+"/v1/events?channel="+tt.channel, bearer(tt.token), ""); a.status != tt.status {
				t.Errorf("status %d, want %d: %s", a.status, tt.status, a.body)
			}
		})
	}
	// A subject is a text, and never a pattern or more than one segment.
	for _, sub := range []string{"*", "**", "{sub}", ":", "alice:inbox", "alice ", " alice", "ALICE", "аlice", "alice\u200b", "%61lice", "bob|alice", ".*"} {
		t.Run(fmt.Sprintf("subject %q", sub), func(t *testing.T) {
			token := harness.Token{Sub: sub, Subscribe: []string{"user:{sub}:inbox"}, Publish: []string{"user:{sub}:inbox"}}.Sign()
			for _, ch := range []string{"user:alice:inbox", "me:alice"} {
				wantProblem(t, knock(t, http.MethodGet, base+"/v1/events?channel="+ch, bearer(token), ""), http.StatusForbidden)
				wantProblem(t, knock(t, http.MethodGet, of(base, ch), bearer(token), ""), http.StatusForbidden)
				wantProblem(t, knock(t, http.MethodPost, of(base, ch), bearer(token), "forged"), http.StatusForbidden)
			}
		})
	}
}

// Who has the public key, as everybody may, cannot sign with it. Nor do keys
// count that a token brings along.
func TestSecurityKeyConfusion(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1})
	elsewhere := noVisitors(t)
	file := func(name string, text []byte) string {
		path := filepath.Join(t.TempDir(), name)
		must(t, os.WriteFile(path, text, 0o600))
		return path
	}
	keys := newIssuer(t, keySet(jwk(rsaKey().Public(), "rsa"), jwk(ecKey().Public(), "ec"),
		json.RawMessage(`{"kty":"oct","kid":"oct","alg":"HS256","k":"`+segment([]byte(harness.Secret))+`"}`)))
	for _, tt := range []struct {
		name    string
		gateway *harness.Gateway
		alg     string
		key     any
		kid     string
	}{
		{"RSA key file", withKeys(t, f, "GATEWAY_JWT_PUBLIC_KEY_FILE="+file("rsa.pem", pemOf(rsaKey().Public()))), "RS256", rsaKey(), ""},
		{"ECDSA key file", withKeys(t, f, "GATEWAY_JWT_PUBLIC_KEY_FILE="+file("ec.pem", pemOf(ecKey().Public()))), "ES256", ecKey(), ""},
		{"key file and secret", withKeys(t, f, "GATEWAY_JWT_PUBLIC_KEY_FILE="+file("ec.pem", pemOf(ecKey().Public())), "GATEWAY_JWT_SECRET="+harness.Secret+"-of-its-own"), "ES256", ecKey(), ""},
		{"JWKS", withKeys(t, f, "GATEWAY_JWKS_URL="+keys.URL), "ES256", ecKey(), `,"kid":"ec"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			must(t, tt.gateway.WaitReady())
			base := tt.gateway.URL()
			header := func(alg, more string) string { return `{"alg":"` + alg + `"` + tt.kid + more + `}` }
			good := forge(tt.alg, tt.key, header(tt.alg, ""), greedy())
			wantEntry(t, base, good)
			// Pointers to keys are ignored, not followed, also in good tokens.
			wantEntry(t, base, forge(tt.alg, tt.key, header(tt.alg, `,"jku":"`+elsewhere+`","x5u":"`+elsewhere+`"`), greedy()))

			tokens := map[string]string{
				"alg none":                     segment([]byte(header("none", ""))) + "." + segment([]byte(greedy())) + ".",
				"secret of other tests":        hs256(header("HS256", ""), greedy()),
				"symmetric key of the key set": hs256(`{"alg":"HS256","kid":"oct"}`, greedy()),
				"empty secret":                 forge("HS256", []byte{}, header("HS256", ""), greedy()),
				"empty secret of /dev/null":    forge("HS256", []byte{}, `{"alg":"HS256","kid":"../../../../../dev/null"}`, greedy()),
				"signature of zeros":           segment([]byte(header("ES256", ""))) + "." + segment([]byte(greedy())) + "." + segment(make([]byte, 64)),
				"empty signature":              segment([]byte(header(tt.alg, ""))) + "." + segment([]byte(greedy())) + ".",
				"own key":                      forge("ES256", stranger(), header("ES256", ""), greedy()),
				"other curve said":             forge("ES256", ecKey(), header("ES384", ""), greedy()),
				"RSA said, ECDSA signed":       forge("ES256", ecKey(), header("RS256", ""), greedy()),
				"critical extension":           forge(tt.alg, tt.key, header(tt.alg, `,"crit":["b64"],"b64":true`), greedy()),
			}
			// With the header's pointer alone, with the right kid, and both.
			for name, pointer := range map[string]string{
				"jwk": string(jwk(stranger().Public(), "")), "jku": `"` + elsewhere + `/jwks.json"`,
				"x5u": `"` + elsewhere + `/cert.pem"`, "x5c": `["` + segment(pkix(stranger().Public())) + `"]`,
			} {
				tokens[name+" of the attacker"] = forge("ES256", stranger(), header("ES256", `,"`+name+`":`+pointer), greedy())
				tokens[name+" of the attacker, no kid"] = forge("ES256", stranger(), `{"alg":"ES256","x5t":"AAAA","`+name+`":`+pointer+`}`, greedy())
			}
			rsa := &rsaKey().PublicKey
			for name, secret := range map[string][]byte{
				"PEM": pemOf(rsa), "PEM without line end": bytes.TrimSpace(pemOf(rsa)), "PEM in DOS": bytes.ReplaceAll(pemOf(rsa), []byte("\n"), []byte("\r\n")),
				"DER": pkix(rsa), "PKCS #1": x509.MarshalPKCS1PublicKey(rsa), "modulus": rsa.N.Bytes(), "base64": []byte(segment(pkix(rsa))), "JWK": jwk(rsa, "rsa"),
				"ECDSA PEM": pemOf(ecKey().Public()), "ECDSA PEM without line end": bytes.TrimSpace(pemOf(ecKey().Public())),
				"ECDSA DER": pkix(ecKey().Public()), "ECDSA JWK": jwk(ecKey().Public(), "ec"), "ECDSA point": generated(ecKey().PublicKey.Bytes()),
			} {
				for _, alg := range []string{"HS256", "HS512"} {
					tokens[alg+" with the public key as "+name] = forge(alg, secret, header(alg, ""), greedy())
				}
				tokens["HS256 signed, "+tt.alg+" said, public key as "+name] = forge("HS256", secret, header(tt.alg, ""), greedy())
			}
			for name, token := range tokens {
				t.Run(name, func(t *testing.T) { wantNoEntry(t, base, token) })
			}
		})
	}
	if n, err := f.db().XLen(t.Context(), "gw:"+coveted).Result(); err != nil || n != 0 {
		t.Errorf("refused publishes have written %d entries (%v)", n, err)
	}
}

// Tokens of another installation, or for another service, of the same issuer's
// keys do not count here.
func TestSecurityIssuerAndAudience(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, env: []string{"GATEWAY_JWT_ISSUER=https://id.example", "GATEWAY_JWT_AUDIENCE=gateway"}})
	base := f.url(0)
	token := func(claims string) string {
		return hs256(`{"alg":"HS256"}`, `{`+claims+`"gateway":{"subscribe":["**"],"publish":["**"]}}`)
	}
	wantEntry(t, base, token(`"iss":"https://id.example","aud":"gateway",`))
	wantEntry(t, base, token(`"iss":"https://id.example","aud":["shop","gateway"],`))
	for _, claims := range []string{
		``, `"iss":"https://id.example",`, `"aud":"gateway",`,
		`"iss":"https://id.example/","aud":"gateway",`, `"iss":"https://ID.example","aud":"gateway",`, `"iss":["https://id.example"],"aud":"gateway",`,
		`"iss":"","aud":"gateway",`, `"iss":null,"aud":"gateway",`, `"Iss":"https://id.example","aud":"gateway",`,
		`"iss":"https://id.example","aud":"Gateway",`, `"iss":"https://id.example","aud":"gateway2",`, `"iss":"https://id.example","aud":"shop gateway",`,
		`"iss":"https://id.example","aud":[],`, `"iss":"https://id.example","aud":["shop"],`, `"iss":"https://id.example","aud":"*",`,
		`"iss":"https://id.example","aud":"gateway","aud":"shop",`, `"iss":"https://id.example","iss":"https://evil.example","aud":"gateway",`,
	} {
		t.Run(claims, func(t *testing.T) { wantNoEntry(t, base, token(claims)) })
	}
}

// Many Authorization headers, other schemes and bare tokens are no way in.
func TestSecurityOddAuthorization(t *testing.T) {
	t.Parallel()
	f := shared(t)
	good := harness.Token{Sub: "alice", Subscribe: []string{"**"}}.Sign()
	bad := forge("HS256", []byte("wrong"), `{"alg":"HS256"}`, greedy())
	target := f.url(0) + "/v1/events?channel=" + coveted
	for name, header := range map[string]http.Header{
		"two, good first":         {"Authorization": {"Bearer " + good, "Bearer " + bad}},
		"two, good last":          {"Authorization": {"Bearer " + bad, "Bearer " + good}},
		"two good":                {"Authorization": {"Bearer " + good, "Bearer " + good}},
		"in one, with a comma":    {"Authorization": {"Bearer " + good + ", Bearer " + bad}},
		"bare":                    {"Authorization": {good}},
		"nothing behind Bearer":   {"Authorization": {"Bearer "}},
		"Basic":                   {"Authorization": {"Basic " + segment([]byte("alice:"+good))}},
		"Bearer and a tab":        {"Authorization": {"Bearer\t" + good}},
		"quoted":                  {"Authorization": {`Bearer "` + good + `"`}},
		"as a parameter":          {"Authorization": {"Bearer token=" + good}},
		"another header":          {"X-Authorization": {"Bearer " + good}, "Proxy-Authorization": {"Bearer " + good}},
		"cookie of another name":  {"Cookie": {"Gateway_Token=" + good + "; gateway_token2=" + good}},
		"1000 cookies, the first": {"Cookie": {"gateway_token=" + bad + strings.Repeat("; gateway_token=x", 1000)}},
		"user named by a header":  {"X-User": {"alice"}, "X-Forwarded-User": {"alice"}, "X-Remote-User": {"alice"}},
	} {
		t.Run(name, func(t *testing.T) {
			wantProblem(t, knock(t, http.MethodGet, target, header, ""), http.StatusUnauthorized)
		})
	}
	wantProblem(t, knock(t, http.MethodGet, target+"&token="+bad+"&token="+good, nil, ""), http.StatusUnauthorized)
}
