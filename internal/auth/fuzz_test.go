package auth

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// FuzzVerify checks that nothing but the tokens that were signed is accepted,
// down to the last byte, and that what is refused is refused properly.
func FuzzVerify(f *testing.F) {
	file := filepath.Join(f.TempDir(), "key.pem")
	der := must(x509.MarshalPKIXPublicKey(edKey().Public()))
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		f.Fatal(err)
	}
	v, err := New(context.Background(), Options{Secret: testSecret, PublicKeyFile: file})
	if err != nil {
		f.Fatal(err)
	}
	const payload = `{"sub":"alice","gateway":{"subscribe":["a:*"]}}`
	signed := map[string]bool{}
	for _, token := range []string{
		rawHS(`{"alg":"HS256","typ":"JWT"}`, payload),
		rawHS(`{"alg":"HS256","kid":"x"}`, `{}`),
		rawHS(`{"alg":"HS256"}`, `{"sub":7}`),
		rawHS(`{"alg":"HS256","crit":["exp"]}`, `{}`),
		rawHS(`{"alg":"HS256"}`, `{"gateway":{"subscribe":["a::b"]}}`),
		rawHS(`{"alg":"HS256"}`, `null`),
		sign("EdDSA", edKey(), claims(), nil),
	} {
		signed[token] = true
		f.Add(token)
		f.Add(token[:len(token)-1])
		f.Add(strings.Replace(token, ".", "..", 1))
	}
	for _, token := range []string{
		"", ".", "..", "a.b.c", malformed,
		b64(`{"alg":"none"}`) + "." + b64(payload) + ".",
		b64(`{"alg":"HS256"}`) + "." + b64(payload) + ".",
		b64(`{"alg":["HS256"]}`) + ".." + b64("x"),
		strings.Repeat("A", MaxTokenLen+1),
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := v.Verify(t.Context(), token)
		var refused *TokenError
		switch {
		case err == nil:
			if c == nil || !signed[token] {
				t.Fatalf("accepted %q", token)
			}
		case c != nil:
			t.Fatalf("claims %+v beside the error %v", c, err)
		case token == "":
			if !errors.Is(err, ErrNoToken) {
				t.Fatalf("Verify = %v, want ErrNoToken", err)
			}
		case !errors.As(err, &refused) || refused.Reason == "":
			t.Fatalf("Verify = %v, want a *TokenError with a reason", err)
		case len(token) > 40 && strings.Contains(err.Error(), token):
			t.Fatalf("the error quotes the token: %v", err)
		}
	})
}

// FuzzVerifyParts puts tokens together of any header and any claims, some of
// them rightly signed, so that what comes behind the signature is reached too.
// Whatever they say, only what the secret signed is accepted, while it is in
// force; not what a stranger or nobody signed, whichever key it names.
func FuzzVerifyParts(f *testing.F) {
	for _, header := range []string{
		`{"alg":"HS256"}`, `{"alg":"none"}`, `{"alg":"ES256","kid":"a"}`, `{"alg":"ES256","kid":"b","jwk":{"kty":"oct","k":""}}`, `{"alg":"EdDSA"}`,
		`{"alg":"HS256","crit":[]}`, `{"alg":"HS256","alg":"none"}`, `{"alg":"HS512"}`, `null`, `{"alg":"RS256","kid":null}`,
	} {
		f.Add(header, `{"sub":"alice","exp":99999999999,"gateway":{"subscribe":["a:{sub}:**"],"publish":null}}`, "")
		f.Add(header, `{"exp":1,"exp":1e99,"aud":[],"gateway":{"subscribe":[null]}}`, "AAAA")
	}
	from := &issuer{body: keySetJSON(jwk(p256Key().Public(), "a", nil), jwk(rsaKey().Public(), "b", nil))}
	ctx, cancel := context.WithCancel(context.Background())
	v, err := New(ctx, Options{Secret: testSecret, JWKSURL: "https://id.example/keys", HTTPClient: from.client()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { cancel(); v.Wait() })
	f.Fuzz(func(t *testing.T, header, payload, signature string) {
		text := b64(header) + "." + b64(payload)
		for by, signed := range map[string]string{
			"nobody":     signature,
			"the secret": b64(string(must(jwt.SigningMethodHS256.Sign(text, []byte(testSecret))))),
			"a stranger": b64(string(must(jwt.SigningMethodES256.Sign(text, otherKey())))),
		} {
			c, err := v.Verify(t.Context(), text+"."+signed)
			if err != nil {
				if c != nil || !errors.Is(err, ErrBadToken) && !errors.Is(err, ErrUnavailable) {
					t.Fatalf("signed by %s: Verify = %v, %v", by, c, err)
				}
				continue
			}
			if by != "the secret" {
				t.Fatalf("%s %s was accepted, signed by %s", header, payload, by)
			}
			var said map[string]any
			if err := json.Unmarshal([]byte(header), &said); err != nil || said["alg"] != "HS256" || said["crit"] != nil {
				t.Fatalf("header %s was accepted (%v)", header, err)
			}
			if !c.Expires.IsZero() && time.Since(c.Expires) > DefaultLeeway || checkID(c.Subject) != nil || checkID(c.ID) != nil {
				t.Fatalf("%s gave %+v", payload, c)
			}
			if c.MaySubscribe("") || c.MayPublish("") || c.Subject == "" && slices.ContainsFunc([]string{"a::b", "a:{sub}:b"}, c.MaySubscribe) {
				t.Fatalf("%s gave rights to what is no channel: %+v", payload, c)
			}
		}
	})
}

// FuzzKeySet checks that a key set can be anything, and that no key of it
// verifies what a shared secret signs.
func FuzzKeySet(f *testing.F) {
	f.Add(keySetJSON(jwk(p256Key().Public(), "a", nil), jwk(p384Key().Public(), "", nil)), "a")
	f.Add(keySetJSON(jwk(edKey().Public(), "a", map[string]any{"alg": "EdDSA", "use": "sig"})), "")
	f.Add(keySetJSON(jwk(rsaKey().Public(), "a", map[string]any{"alg": "HS256"})), "a")
	f.Add(`{"keys":[{"kty":"oct","kid":"a","alg":"HS256","k":"AAAA"}]}`, "a")
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"AQ","y":"____________________________________________________________"}]}`, "a")
	f.Add(`{"keys":[{"kty":"RSA","kid":"a","n":"","e":"AQAB","x5c":["!"],"x5u":"http://127.0.0.1:1/"}]}`, "a")
	f.Add(`{"keys":[null,7,{}]}`, "\x00")
	f.Fuzz(func(t *testing.T, text, kid string) {
		s, err := parseKeySet([]byte(text))
		if err != nil {
			return
		}
		if s.usable < 1 {
			t.Fatalf("%s has no usable key and no error", text)
		}
		for _, alg := range append(slices.Clone(asymmetricAlgorithms), "HS256", "HS512", "none") {
			method := jwt.GetSigningMethod(alg)
			key, err := s.key(t.Context(), &jwt.Token{Method: method, Header: map[string]any{"alg": alg, "kid": kid}})
			if err != nil {
				if key != nil || !errors.Is(err, ErrBadToken) && !errors.Is(err, errUnknownKey) {
					t.Fatalf("key = %v, %v", key, err)
				}
				continue
			}
			if algs, err := algorithmsOf(key); err != nil || !slices.Contains(algs, alg) {
				t.Fatalf("%s has a key of type %T for %s (%v)", text, key, alg, err)
			}
			if method.Verify("text", []byte("signature"), key) == nil {
				t.Fatalf("%s verifies anything", text)
			}
		}
	})
}
