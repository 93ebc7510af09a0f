package auth

import (
	"strings"
	"testing"
)

func TestVerifyRefusesClaims(t *testing.T) {
	v := newVerifier(t, Options{Secret: testSecret})
	for _, tt := range []struct {
		payload string
		want    Reason // "": good
		detail  string // part of the error's text
	}{
		{`{"sub":"alice"}`, "", ""},
		{`{"sub":""}`, "", ""},
		{`{"sub":"` + strings.Repeat("a", 255) + `"}`, "", ""},
		{`{"sub":"` + strings.Repeat("a", 256) + `"}`, ReasonClaim, "sub has 256 bytes"},
		{`{"sub":7}`, ReasonClaim, "sub is not a string"},
		{`{"sub":null}`, ReasonClaim, "sub is not a string"},
		{`{"sub":["alice"]}`, ReasonClaim, "sub is not a string"},
		{`{"sub":{"name":"alice"}}`, ReasonClaim, "sub is not a string"},
		{`{"sub":"a\nevent: x"}`, ReasonClaim, "control character"},
		{`{"sub":"\ud800"}`, ReasonClaim, "not UTF-8"},
		{`{"jti":7}`, ReasonClaim, "jti is not a string"},
		{`{"jti":"a\u0000"}`, ReasonClaim, "jti has a control character"},
		{`{"iss":false}`, ReasonClaim, "iss is not a string"},
		{`{"aud":null}`, ReasonClaim, "aud is not"},
		{`{"aud":{}}`, ReasonClaim, "aud is not"},
		{`{"aud":[ ]}`, "", ""},
		{`{"exp":"4102444800"}`, ReasonClaim, "exp is not a number"},
		{`{"exp":null}`, ReasonClaim, "exp is not a number"},
		{`{"exp":true}`, ReasonClaim, "exp is not a number"},
		{`{"exp":1e999}`, ReasonClaim, "exp is not a number"},
		{`{"exp":-1}`, ReasonClaim, "exp is not a time"},
		{`{"exp":0}`, ReasonExpired, ""},
		{`{"exp":4102444800.5}`, "", ""},
		{`{"exp":4102444800000}`, ReasonClaim, "exp is not a time in seconds"},
		{`{"exp":253402300799}`, "", ""},
		{`{"nbf":"now"}`, ReasonClaim, "nbf is not a number"},
		{`{"nbf":4102444800}`, ReasonNotYet, ""},
		{`{"iat":1767225600.5}`, "", ""},
		{`{"iat":"1767225600"}`, ReasonClaim, "iat is not a number"},
		{`{"iat":null}`, ReasonClaim, "iat is not a number"},
		{`{"iat":-1}`, ReasonClaim, "iat is not a time"},
		{`{"gateway":{}}`, "", ""},
		{`{"gateway":null}`, ReasonClaim, "gateway is not an object"},
		{`{"gateway":["a"]}`, ReasonClaim, "gateway is not an object"},
		{`{"gateway":"a"}`, ReasonClaim, "gateway is not an object"},
		{`{"gateway":{"subscribe":[]}}`, "", ""},
		{`{"gateway":{"subscribe":"a"}}`, ReasonClaim, "gateway.subscribe is not a list"},
		{`{"gateway":{"subscribe":[1]}}`, ReasonClaim, "gateway.subscribe is not a list"},
		{`{"gateway":{"publish":["a",null]}}`, ReasonClaim, "gateway.publish is not a list"},
		{`{"gateway":{"publish":["a",["b"]]}}`, ReasonClaim, "gateway.publish is not a list"},
		{`{"gateway":{"subscribe":["a","b::c"]}}`, ReasonPattern, `gateway.subscribe[1]: pattern "b::c": segment 2 is empty`},
		{`{"gateway":{"publish":["**:a"]}}`, ReasonPattern, `gateway.publish[0]: pattern "**:a"`},
		{`{"gateway":{"publish":[""]}}`, ReasonPattern, "gateway.publish[0]: pattern is empty"},
		{`{"gateway":{"publish":["a\nb"]}}`, ReasonPattern, `"a\nb"`},
		{`{"gateway":{"publish":["` + strings.Repeat("a", 256) + `"]}}`, ReasonPattern, "256 bytes"},
	} {
		t.Run(tt.payload[:min(len(tt.payload), 60)], func(t *testing.T) {
			token := rawHS(`{"alg":"HS256"}`, tt.payload)
			if tt.want == "" {
				wantGood(t, v, token)
				return
			}
			wantBad(t, v, token, tt.want)
			_, err := v.Verify(t.Context(), token)
			if !strings.Contains(err.Error(), tt.detail) || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("text is %q, want one line with %q", err, tt.detail)
			}
		})
	}
}

// Issuers that let users choose names of further claims must not thereby let
// them choose these.
func TestVerifyClaimNamesAreExact(t *testing.T) {
	v := newVerifier(t, Options{Secret: testSecret})
	c := wantGood(t, v, rawHS(`{"alg":"HS256"}`,
		`{"sub":"alice","Sub":"admin","SUB":"admin","Gateway":{"subscribe":["**"]},"gateway":{"Subscribe":["**"],"Publish":["**"]}}`))
	if c.Subject != "alice" || c.MaySubscribe("a") || c.MayPublish("a") {
		t.Errorf("claims are %+v, want alice without rights", c)
	}
}
