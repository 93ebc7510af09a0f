package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testSecret = "0123456789abcdef0123456789abcdef"

var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	p256Key  = sync.OnceValue(func() *ecdsa.PrivateKey { return newECDSA(elliptic.P256()) })
	otherKey = sync.OnceValue(func() *ecdsa.PrivateKey { return newECDSA(elliptic.P256()) })
	p384Key  = sync.OnceValue(func() *ecdsa.PrivateKey { return newECDSA(elliptic.P384()) })
	p521Key  = sync.OnceValue(func() *ecdsa.PrivateKey { return newECDSA(elliptic.P521()) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed([]byte(testSecret))
	})
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func newECDSA(c elliptic.Curve) *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(c, rand.Reader)) }

// claims is a valid payload, with changes: a nil value takes a claim away.
func claims(changes ...map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{
		"sub":     "alice",
		"jti":     "t1",
		"exp":     time.Now().Add(time.Hour).Unix(),
		"gateway": map[string]any{"subscribe": []string{"project:*:tasks", "user:{sub}"}, "publish": []string{"chat:**"}},
	}
	for _, change := range changes {
		for name, value := range change {
			if value == nil {
				delete(c, name)
			} else {
				c[name] = value
			}
		}
	}
	return c
}

// sign makes a token; header adds to alg and typ.
func sign(alg string, key any, c jwt.Claims, header map[string]any) string {
	t := jwt.NewWithClaims(jwt.GetSigningMethod(alg), c)
	for name, value := range header {
		t.Header[name] = value
	}
	return must(t.SignedString(key))
}

func hs(c jwt.Claims) string { return sign("HS256", []byte(testSecret), c, nil) }

func pemFile(t *testing.T, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func publicFile(t *testing.T, key crypto.PublicKey) string {
	t.Helper()
	return pemFile(t, "PUBLIC KEY", must(x509.MarshalPKIXPublicKey(key)))
}

// newVerifier makes a Verifier that ends with the test.
func newVerifier(t testing.TB, o Options) *Verifier {
	t.Helper()
	v, err := New(t.Context(), o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return v
}

func wantGood(t *testing.T, v *Verifier, token string) *Claims {
	t.Helper()
	c, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatalf("Verify = %v, want the token accepted", err)
	}
	return c
}

func wantBad(t *testing.T, v *Verifier, token string, want Reason) {
	t.Helper()
	c, err := v.Verify(t.Context(), token)
	var got *TokenError
	if c != nil || !errors.Is(err, ErrBadToken) || !errors.As(err, &got) {
		t.Fatalf("Verify = %v, %v, want a bad token: %s", c, err, want)
	}
	if got.Reason != want {
		t.Errorf("reason is %q (%v), want %q", got.Reason, err, want)
	}
	wantNotIn(t, err.Error(), token)
}

// wantNotIn checks that no part of the token shows.
func wantNotIn(t *testing.T, text, token string) {
	t.Helper()
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 12 && strings.Contains(text, part) {
			t.Errorf("%q contains a part of the token", text)
		}
	}
}

func wantUnavailable(t *testing.T, v *Verifier, token string) {
	t.Helper()
	if c, err := v.Verify(t.Context(), token); c != nil || !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrBadToken) {
		t.Fatalf("Verify = %v, %v, want ErrUnavailable", c, err)
	}
}

// logs collects what a Verifier logs; safe for concurrent use.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
