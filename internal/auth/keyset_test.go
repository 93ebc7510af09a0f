package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func TestParseKeySetSkips(t *testing.T) {
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	offCurve := jwk(p256Key().Public(), "a", map[string]any{"x": base64.RawURLEncoding.EncodeToString(make([]byte, 32))})
	for _, tt := range []struct {
		name string
		key  map[string]any
	}{
		{"secret", map[string]any{"kty": "oct", "kid": "a", "alg": "HS256", "k": b64(testSecret)}},
		{"for encryption", jwk(rsaKey().Public(), "a", map[string]any{"use": "enc"})},
		{"for an unknown use", jwk(rsaKey().Public(), "a", map[string]any{"use": "tls"})},
		{"only for signing", jwk(rsaKey().Public(), "a", map[string]any{"key_ops": []string{"sign"}})},
		{"algorithm of encryption", jwk(rsaKey().Public(), "a", map[string]any{"alg": "RSA-OAEP"})},
		{"algorithm of a secret", jwk(rsaKey().Public(), "a", map[string]any{"alg": "HS256"})},
		{"algorithm of another curve", jwk(p256Key().Public(), "a", map[string]any{"alg": "ES384"})},
		{"algorithm none", jwk(p256Key().Public(), "a", map[string]any{"alg": "none"})},
		{"small RSA key", jwk(small.Public(), "a", nil)},
		{"unknown type", map[string]any{"kty": "AKP", "kid": "a", "alg": "ML-DSA-44", "pub": "AA"}},
		{"no type", map[string]any{"kid": "a"}},
		{"fields of the wrong type", map[string]any{"kty": 7, "kid": "a"}},
		{"without its numbers", map[string]any{"kty": "RSA", "kid": "a"}},
		{"point off the curve", offCurve},
		{"number too large for the curve", jwk(p256Key().Public(), "a", map[string]any{"x": strings.Repeat("_", 400)})},
		{"null", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if s, err := parseKeySet([]byte(keySetJSON(tt.key))); err == nil {
				t.Errorf("key is usable: %+v", s)
			}
			s, err := parseKeySet([]byte(keySetJSON(tt.key, jwk(edKey().Public(), "b", nil))))
			if err != nil || s.usable != 1 || s.skipped != 1 || s.kids["a"] {
				t.Errorf("parseKeySet = %+v, %v, want the good key alone", s, err)
			}
		})
	}
	for _, text := range []string{"", "null", "[]", "{}", `{"keys":{}}`, `{"keys":[]}`, "<html>"} {
		if s, err := parseKeySet([]byte(text)); err == nil {
			t.Errorf("parseKeySet(%q) = %+v, want an error", text, s)
		}
	}
}

// A private key in a public place is a misfortune, but not one to make worse.
func TestParseKeySetReadsPublicPartOnly(t *testing.T) {
	private := jwk(edKey().Public(), "a", map[string]any{"d": base64.RawURLEncoding.EncodeToString(edKey().Seed())})
	s, err := parseKeySet([]byte(keySetJSON(private)))
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := jwt.NewParser().ParseUnverified(sign("EdDSA", edKey(), claims(), map[string]any{"kid": "a"}), &payload{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.key(t.Context(), token)
	if public, ok := edKey().Public().(interface{ Equal(x any) bool }); err != nil || ok && !public.Equal(key) {
		t.Errorf("key = %T, %v, want the public key", key, err)
	}
}

func TestKeySetChooses(t *testing.T) {
	one := keySetJSON(jwk(p256Key().Public(), "a", nil), jwk(rsaKey().Public(), "r", map[string]any{"alg": "RS256", "use": "sig", "key_ops": []string{"verify"}}))
	two := keySetJSON(jwk(p256Key().Public(), "a", nil), jwk(otherKey().Public(), "b", nil))
	sameKid := keySetJSON(jwk(p256Key().Public(), "a", nil), jwk(p384Key().Public(), "a", nil), jwk(edKey().Public(), "a", nil))
	noKid := keySetJSON(jwk(p256Key().Public(), "", nil))
	kid := func(v any) map[string]any { return map[string]any{"kid": v} }
	for _, tt := range []struct {
		name  string
		set   string
		token string
		want  Reason // "": good
	}{
		{"by kid", two, es(p256Key(), "a"), ""},
		{"by the other kid", two, es(otherKey(), "b"), ""},
		{"with the kid of another key", two, es(otherKey(), "a"), ReasonSignature},
		{"without kid, one key of the type", one, es(p256Key(), ""), ""},
		{"without kid, two keys of the type", two, es(p256Key(), ""), ReasonKeyID},
		{"without kid, no key of the type", two, sign("EdDSA", edKey(), claims(), nil), ReasonKey},
		{"key has no kid, token neither", noKid, es(p256Key(), ""), ""},
		{"key has no kid, token has", noKid, es(p256Key(), "a"), ReasonKey},
		{"kid is empty", noKid, sign("ES256", p256Key(), claims(), kid("")), ReasonKeyID},
		{"kid is a number", one, sign("ES256", p256Key(), claims(), kid(7)), ReasonKeyID},
		{"kid is null", one, sign("ES256", p256Key(), claims(), kid(nil)), ReasonKeyID},
		{"kid is a list", one, sign("ES256", p256Key(), claims(), kid([]string{"a"})), ReasonKeyID},
		{"kid is a path", one, sign("ES256", p256Key(), claims(), kid("../../dev/null")), ReasonKey},
		{"kid is a query", one, sign("ES256", p256Key(), claims(), kid("' OR 1=1 --")), ReasonKey},
		{"kid is in capitals", one, es(p256Key(), "A"), ReasonKey},
		{"kid of an RSA key", one, es(p256Key(), "r"), ReasonAlgorithm},
		{"key's algorithm", one, sign("RS256", rsaKey(), claims(), kid("r")), ""},
		{"key's type, not its algorithm", one, sign("RS512", rsaKey(), claims(), kid("r")), ReasonAlgorithm},
		{"key's type, not its padding", one, sign("PS256", rsaKey(), claims(), kid("r")), ReasonAlgorithm},
		{"key's type, not its algorithm, without kid", one, sign("RS512", rsaKey(), claims(), nil), ReasonKey},
		{"same kid, first type", sameKid, es(p256Key(), "a"), ""},
		{"same kid, second type", sameKid, sign("ES384", p384Key(), claims(), kid("a")), ""},
		{"same kid, third type", sameKid, sign("EdDSA", edKey(), claims(), kid("a")), ""},
		{"same kid, none of the types", sameKid, sign("RS256", rsaKey(), claims(), kid("a")), ReasonAlgorithm},
		{"secret, with the kid of a key", one, sign("HS256", []byte(testSecret), claims(), kid("a")), ReasonAlgorithm},
		{"none, with the kid of a key", one, sign("none", jwt.UnsafeAllowNoneSignatureType, claims(), kid("a")), ReasonAlgorithm},
		{"brings its own key", one, sign("ES256", otherKey(), claims(), map[string]any{
			"kid": "a", "jwk": jwk(otherKey().Public(), "a", nil), "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert",
		}), ReasonSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from := &issuer{body: tt.set}
			v := newRemote(t, from, Options{})
			if tt.want == "" {
				wantGood(t, v, tt.token)
				return
			}
			wantBad(t, v, tt.token, tt.want)
		})
	}
}

func TestAlgorithmsOfUnknownKey(t *testing.T) {
	if _, err := algorithmsOf("key"); err == nil || errors.Is(err, errUnknownKey) {
		t.Errorf("algorithmsOf = %v, want an error", err)
	}
}
