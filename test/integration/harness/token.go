package harness

import (
	"maps"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Secret signs the tokens of all tests.
const Secret = "integration-tests-sign-with-this-secret-of-enough-bytes"

// Token describes a token; the zero value is nobody's and allows nothing.
type Token struct {
	Sub       string
	ID        string // jti
	Subscribe []string
	Publish   []string
	// Issued, if zero, is not said.
	Issued time.Time
	// Claims are further ones.
	Claims map[string]any
	// Expires, if zero, is an hour away.
	Expires time.Time
	// Secret, if empty, is the one the gateways know.
	Secret string
	// Method, if nil, is HS256.
	Method jwt.SigningMethod
}

// Sign returns the token in its compact form.
func (t Token) Sign() string {
	if t.Expires.IsZero() {
		t.Expires = time.Now().Add(time.Hour)
	}
	if t.Secret == "" {
		t.Secret = Secret
	}
	if t.Method == nil {
		t.Method = jwt.SigningMethodHS256
	}
	rights := map[string][]string{}
	if t.Subscribe != nil {
		rights["subscribe"] = t.Subscribe
	}
	if t.Publish != nil {
		rights["publish"] = t.Publish
	}
	claims := jwt.MapClaims{}
	maps.Copy(claims, t.Claims)
	claims["exp"], claims["gateway"] = t.Expires.Unix(), rights
	if t.Sub != "" {
		claims["sub"] = t.Sub
	}
	if t.ID != "" {
		claims["jti"] = t.ID
	}
	if !t.Issued.IsZero() {
		claims["iat"] = float64(t.Issued.UnixMilli()) / 1000
	}
	var key any = []byte(t.Secret)
	if t.Method == jwt.SigningMethodNone {
		key = jwt.UnsafeAllowNoneSignatureType
	}
	signed, err := jwt.NewWithClaims(t.Method, claims).SignedString(key)
	if err != nil {
		panic(err) // the key and the method are ours
	}
	return signed
}
