package auth

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
