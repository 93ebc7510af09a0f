package auth

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestVerifyEveryAlgorithm(t *testing.T) {
	secret := Options{Secret: testSecret}
	withRSA := Options{PublicKeyFile: publicFile(t, rsaKey().Public())}
	with256 := Options{PublicKeyFile: publicFile(t, p256Key().Public())}
	with384 := Options{PublicKeyFile: publicFile(t, p384Key().Public())}
	with521 := Options{PublicKeyFile: publicFile(t, p521Key().Public())}
	withEd := Options{PublicKeyFile: publicFile(t, edKey().Public())}
	all := []struct {
		alg  string
		key  any
		good Options
	}{
		{"HS256", []byte(testSecret), secret}, {"HS384", []byte(testSecret), secret}, {"HS512", []byte(testSecret), secret},
		{"RS256", rsaKey(), withRSA}, {"RS384", rsaKey(), withRSA}, {"RS512", rsaKey(), withRSA},
		{"PS256", rsaKey(), withRSA}, {"PS384", rsaKey(), withRSA}, {"PS512", rsaKey(), withRSA},
		{"ES256", p256Key(), with256}, {"ES384", p384Key(), with384}, {"ES512", p521Key(), with521},
		{"EdDSA", edKey(), withEd},
	}
	for _, o := range []Options{secret, withRSA, with256, with384, with521, withEd, {}} {
		v := newVerifier(t, o)
		for _, tt := range all {
			token := sign(tt.alg, tt.key, claims(), nil)
			if tt.good == o {
				wantGood(t, v, token)
				wantBad(t, v, token[:len(token)-6]+"AAAAAA", ReasonSignature)
			} else {
				wantBad(t, v, token, ReasonAlgorithm)
			}
		}
	}
}

func TestVerifyClaims(t *testing.T) {
	v := newVerifier(t, Options{Secret: testSecret})
	exp := time.Now().Add(time.Minute).Truncate(time.Second)
	c := wantGood(t, v, hs(claims(map[string]any{"exp": exp.Unix()})))
	if c.Subject != "alice" || c.ID != "t1" || !c.Expires.Equal(exp) {
		t.Errorf("claims are %+v, want alice, t1, %v", c, exp)
	}
	for channel, want := range map[string][2]bool{ // subscribe, publish
		"project:42:tasks": {true, false},
		"project:42":       {false, false},
		"user:alice":       {true, false},
		"user:bob":         {false, false},
		"chat:1:2":         {false, true},
	} {
		if got := [2]bool{c.MaySubscribe(channel), c.MayPublish(channel)}; got != want {
			t.Errorf("rights on %s are %v, want %v", channel, got, want)
		}
	}
	c = wantGood(t, v, hs(jwt.MapClaims{}))
	if c.Subject != "" || c.ID != "" || !c.Expires.IsZero() || c.MaySubscribe("a") || c.MayPublish("a") {
		t.Errorf("claims of an empty token are %+v, want nobody, for ever, without rights", c)
	}
	c = nil
	if c.MaySubscribe("a") || c.MayPublish("a") {
		t.Error("nil claims have rights")
	}
}

// b64 is a JWT segment.
func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// rawHS signs header and payload as they are.
func rawHS(header, payload string) string {
	text := b64(header) + "." + b64(payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(must(jwt.SigningMethodHS256.Sign(text, []byte(testSecret))))
}

// respell changes the last digit of an HS256 signature in its two bits that
// stand for nothing.
func respell(digit byte) byte {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return digits[strings.IndexByte(digits, digit)^1]
}

func TestVerifyRefusesForms(t *testing.T) {
	v := newVerifier(t, Options{Secret: testSecret})
	const header = `{"alg":"HS256"}`
	good := rawHS(header, `{}`)
	wantGood(t, v, good)
	if _, err := v.Verify(t.Context(), ""); !errors.Is(err, ErrNoToken) {
		t.Errorf("Verify of no token = %v, want ErrNoToken", err)
	}
	for _, tt := range []struct {
		name, token string
		want        Reason
	}{
		{"no segments", "abc", ReasonMalformed},
		{"two segments", "a.b", ReasonMalformed},
		{"four segments", good + ".a", ReasonMalformed},
		{"five segments, as JWE", "a.b.c.d.e", ReasonMalformed},
		{"line break inside", good[:5] + "\n" + good[5:], ReasonMalformed},
		{"space before", " " + good, ReasonMalformed},
		{"same bytes, other spelling", good[:len(good)-1] + string(respell(good[len(good)-1])), ReasonMalformed},
		{"padding", good + "=", ReasonMalformed},
		{"header is no JSON", rawHS(`{`, `{}`), ReasonMalformed},
		{"header is null", rawHS(`null`, `{}`), ReasonAlgorithm},
		{"payload is no JSON", rawHS(header, `{`), ReasonMalformed},
		{"payload is null", rawHS(header, `null`), ReasonMalformed},
		{"payload is a list", rawHS(header, `[]`), ReasonMalformed},
		{"payload is not UTF-8", rawHS(header, "{\"sub\":\"a\xff\"}"), ReasonMalformed},
		{"no algorithm", rawHS(`{}`, `{}`), ReasonAlgorithm},
		{"algorithm is a number", rawHS(`{"alg":256}`, `{}`), ReasonAlgorithm},
		{"algorithm in lower case", rawHS(`{"alg":"hs256"}`, `{}`), ReasonAlgorithm},
		{"critical extension", rawHS(`{"alg":"HS256","crit":["b64"],"b64":false}`, `{}`), ReasonExtension},
		{"deeply nested", rawHS(header, `{"a":`+strings.Repeat("[", 11000)+`}`), ReasonMalformed},
		{"as long as allowed", strings.Repeat("a", MaxTokenLen), ReasonMalformed},
		{"too long", strings.Repeat("a", MaxTokenLen+1), ReasonTooLong},
		{"good but too long", hs(claims(map[string]any{"x": strings.Repeat("x", MaxTokenLen)})), ReasonTooLong},
	} {
		t.Run(tt.name, func(t *testing.T) { wantBad(t, v, tt.token, tt.want) })
	}
}

func TestVerifyRefusesNone(t *testing.T) {
	for name, o := range map[string]Options{
		"no key source": {},
		"secret":        {Secret: testSecret},
		"public key":    {PublicKeyFile: publicFile(t, p256Key().Public())},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, o)
			wantBad(t, v, sign("none", jwt.UnsafeAllowNoneSignatureType, claims(), nil), ReasonAlgorithm)
			for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
				wantBad(t, v, b64(`{"alg":"`+alg+`"}`)+"."+b64(`{}`)+".", ReasonAlgorithm)
			}
		})
	}
}

// A verifier that chose the algorithm by the token's header would take the
// public key, which everybody has, for the secret.
func TestVerifyKeyConfusion(t *testing.T) {
	file := publicFile(t, rsaKey().Public())
	text := must(os.ReadFile(file))
	for name, o := range map[string]Options{
		"public key alone":      {PublicKeyFile: file},
		"public key and secret": {PublicKeyFile: file, Secret: testSecret},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, o)
			want := ReasonAlgorithm
			if o.Secret != "" {
				want = ReasonSignature
			}
			for _, alg := range hmacAlgorithms {
				for _, secret := range [][]byte{text, []byte(strings.TrimSpace(string(text))), x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)} {
					wantBad(t, v, sign(alg, secret, claims(), nil), want)
				}
			}
			wantGood(t, v, sign("RS256", rsaKey(), claims(), nil))
		})
	}
	t.Run("public key as secret", func(t *testing.T) {
		_, err := New(t.Context(), Options{Secret: string(text)})
		wantSetting(t, err, "Secret")
	})
}

func TestVerifyTimes(t *testing.T) {
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for _, tt := range []struct {
		name   string
		leeway time.Duration
		claim  string
		offset time.Duration
		want   Reason // "": good
	}{
		{"still valid", 0, "exp", time.Second, ""},
		{"expired within the default leeway", 0, "exp", -4 * time.Second, ""},
		{"expired at the end of the default leeway", 0, "exp", -5 * time.Second, ReasonExpired},
		{"expired long ago", 0, "exp", -time.Hour, ReasonExpired},
		{"expires now, without leeway", -1, "exp", 0, ReasonExpired},
		{"about to expire, without leeway", -1, "exp", time.Second, ""},
		{"expired within a set leeway", time.Minute, "exp", -59 * time.Second, ""},
		{"valid from now", -1, "nbf", 0, ""},
		{"valid soon, within the default leeway", 0, "nbf", 5 * time.Second, ""},
		{"valid soon", 0, "nbf", 6 * time.Second, ReasonNotYet},
		{"valid soon, without leeway", -1, "nbf", time.Second, ReasonNotYet},
		{"issued in the future", 0, "iat", time.Hour, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // in which time stands still
				v := newVerifier(t, Options{Secret: testSecret, Leeway: tt.leeway})
				token := hs(claims(map[string]any{tt.claim: at(tt.offset)}))
				if tt.want != "" {
					wantBad(t, v, token, tt.want)
					return
				}
				wantGood(t, v, token)
			})
		})
	}
}

func TestVerifyIssuerAndAudience(t *testing.T) {
	v := newVerifier(t, Options{Secret: testSecret, Issuer: "https://id.example", Audience: "gateway"})
	const iss = "https://id.example"
	for _, tt := range []struct {
		name     string
		iss, aud any
		want     Reason // "": good
	}{
		{"both right", iss, "gateway", ""},
		{"one of several audiences", iss, []string{"shop", "gateway"}, ""},
		{"wrong issuer", "https://evil.example", "gateway", ReasonIssuer},
		{"issuer with a slash more", iss + "/", "gateway", ReasonIssuer},
		{"no issuer", nil, "gateway", ReasonIssuer},
		{"wrong audience", iss, "shop", ReasonAudience},
		{"audience in capitals", iss, "Gateway", ReasonAudience},
		{"no audience", iss, nil, ReasonAudience},
		{"empty audience", iss, []string{}, ReasonAudience},
		{"issuer is a number", 7, "gateway", ReasonClaim},
		{"audience is a number", iss, 7, ReasonClaim},
		{"audience has a number", iss, []any{"gateway", 7}, ReasonClaim},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := hs(claims(map[string]any{"iss": tt.iss, "aud": tt.aud}))
			if tt.want == "" {
				wantGood(t, v, token)
				return
			}
			wantBad(t, v, token, tt.want)
		})
	}
	t.Run("not asked for", func(t *testing.T) {
		wantGood(t, newVerifier(t, Options{Secret: testSecret}), hs(claims(map[string]any{"iss": "any", "aud": "any"})))
	})
}

func TestVerifyConcurrently(t *testing.T) {
	v := newVerifier(t, Options{Secret: testSecret, PublicKeyFile: publicFile(t, edKey().Public())})
	tokens := []string{hs(claims()), sign("EdDSA", edKey(), claims(), nil)}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 50 {
				if _, err := v.Verify(t.Context(), tokens[i%2]); err != nil {
					t.Errorf("Verify = %v, want the token accepted", err)
				}
				if _, err := v.Verify(t.Context(), tokens[i%2]+"A"); !errors.Is(err, ErrBadToken) {
					t.Errorf("Verify = %v, want ErrBadToken", err)
				}
			}
		})
	}
	group.Wait()
}
