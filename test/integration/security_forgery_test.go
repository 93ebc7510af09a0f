package integration_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"realtime-gateway/test/integration/harness"
)

// The keys that issuers of these tests have, and the one of the attacker.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return generated(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey    = sync.OnceValue(func() *ecdsa.PrivateKey { return generated(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	nextKey  = sync.OnceValue(func() *ecdsa.PrivateKey { return generated(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	stranger = sync.OnceValue(func() *ecdsa.PrivateKey { return generated(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
)

func generated[T any](value T, err error) T {
	if err != nil {
		panic(err) // the system has no randomness, or the types are wrong
	}
	return value
}

// segment is one part of a token.
func segment(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

// forge signs header and payload as they are written, as alg would, whatever
// the header says.
func forge(alg string, key any, header, payload string) string {
	text := segment([]byte(header)) + "." + segment([]byte(payload))
	return text + "." + segment(generated(jwt.GetSigningMethod(alg).Sign(text, key)))
}

func hs256(header, payload string) string {
	return forge("HS256", []byte(harness.Secret), header, payload)
}

// pkix is a public key in DER.
func pkix(key crypto.PublicKey) []byte { return generated(x509.MarshalPKIXPublicKey(key)) }

func pemOf(key crypto.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix(key)})
}

// jwk is a public key in a key set; a kid of "" is left out.
func jwk(key crypto.PublicKey, kid string) json.RawMessage {
	k := generated(jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}}))
	return generated(json.Marshal(k.Marshal()))
}

// keySet is a JWKS.
func keySet(keys ...json.RawMessage) string {
	return string(generated(json.Marshal(map[string]any{"keys": keys})))
}

// issuer serves a JWKS, or whatever its handler does, and counts who asks.
type issuer struct {
	*httptest.Server
	asked atomic.Int64

	mu      sync.Mutex
	handler http.HandlerFunc
}

func newIssuer(t *testing.T, keys string) *issuer {
	t.Helper()
	i := &issuer{}
	i.publish(keys)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		i.mu.Lock()
		h := i.handler
		i.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) answer(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.handler = h
}

func (i *issuer) publish(keys string) {
	i.answer(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(keys)) })
}

// joining guards the replicas of fixtures that subtests add to at the same time.
var joining sync.Mutex

// noVisitors is an address that nobody may ask.
func noVisitors(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a gateway asked %s, where it has no business", r.URL)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// withKeys starts a gateway beside the fixture's that has only these key
// settings. Tests of one fixture may do so at the same time.
func withKeys(t *testing.T, f *fixture, settings ...string) *harness.Gateway {
	t.Helper()
	joining.Lock()
	defer joining.Unlock()
	g, err := f.join(f.server().URL(), nil, append([]string{"GATEWAY_JWT_SECRET="}, settings...))
	must(t, err)
	return g
}
