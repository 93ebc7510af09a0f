package auth

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

func TestValues(t *testing.T) {
	v := newVerifier(t, Options{Secret: testSecret})
	for _, tt := range []struct {
		payload, claim string
		want           []string
	}{
		{`{"sub":"alice"}`, "sub", []string{"alice"}},
		{`{"sub":"auth0|alice"}`, "sub", nil},
		{`{"sub":""}`, "sub", nil},
		{`{}`, "sub", nil},
		{`{"team":"red"}`, "team", []string{"red"}},
		{`{"team":"red"}`, "Team", nil},
		{`{"team":"red"}`, "teams", nil},
		{`{"team":"r\u0065d\/1"}`, "team", []string{"red/1"}},
		{`{"team":""}`, "team", nil},
		{`{"team":"a:b"}`, "team", nil},
		{`{"team":"*"}`, "team", nil},
		{`{"team":"**"}`, "team", nil},
		{`{"team":"{team}"}`, "team", nil},
		{`{"team":"a b"}`, "team", nil},
		{`{"team":"ü"}`, "team", nil},
		{`{"team":"a\n"}`, "team", nil},
		{`{"team":"\ud800"}`, "team", nil},
		{`{"org":42}`, "org", []string{"42"}},
		{`{"org": 42 }`, "org", []string{"42"}},
		{`{"org":-7}`, "org", []string{"-7"}},
		{`{"org":123456789012345678901234567890}`, "org", []string{"123456789012345678901234567890"}},
		{`{"org":42.0}`, "org", nil},
		{`{"org":4e1}`, "org", nil},
		{`{"org":4E1}`, "org", nil},
		{`{"org":true}`, "org", nil},
		{`{"org":null}`, "org", nil},
		{`{"org":{"id":42}}`, "org", nil},
		{`{"teams":["red","blue"]}`, "teams", []string{"red", "blue"}},
		{`{"teams":["red", 7 ,"red",7]}`, "teams", []string{"red", "7"}},
		{`{"teams":["a:b",null,true,1.5,{},["red"],"","blue"]}`, "teams", []string{"blue"}},
		{`{"teams":[]}`, "teams", nil},
		{`{"exp":4102444800}`, "exp", []string{"4102444800"}},
	} {
		c := wantGood(t, v, rawHS(`{"alg":"HS256"}`, tt.payload))
		for range 2 { // the second answer is remembered
			if got := c.Values(tt.claim); !slices.Equal(got, tt.want) {
				t.Errorf("%s: the values of %s are %q, want %q", tt.payload, tt.claim, got, tt.want)
			}
		}
	}
	if (*Claims)(nil).Values("sub") != nil || (*Claims)(nil).Has("sub", "") {
		t.Error("nobody has a subject")
	}
}

func TestValuesOfClaimsInUseByMany(t *testing.T) {
	c := wantGood(t, newVerifier(t, Options{Secret: testSecret}), rawHS(`{"alg":"HS256"}`, `{"sub":"alice","teams":["red","blue"]}`))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if !c.Has("teams", "blue") || !c.Has("sub", "alice") || c.Has("team", "red") {
				t.Error("wrong values")
			}
		})
	}
	wg.Wait()
}

func TestIssuedAndRaw(t *testing.T) {
	v := newVerifier(t, Options{Secret: testSecret})
	for payload, want := range map[string]time.Time{
		`{"sub":"alice"}`:     {},
		`{"iat":1767225600}`:  time.Unix(1767225600, 0),
		`{"iat":0}`:           time.Unix(0, 0),
		`{"iat":4102444800}`:  time.Unix(4102444800, 0), // who judges it compares it with a time
		`{"iat":1767225.625}`: time.Unix(1767225, 625e6),
	} {
		c := wantGood(t, v, rawHS(`{"alg":"HS256"}`, payload))
		if !c.Issued.Equal(want) {
			t.Errorf("%s: issued %v, want %v", payload, c.Issued, want)
		}
		if string(c.Raw) != payload {
			t.Errorf("raw is %s, want %s", c.Raw, payload)
		}
	}
	now := time.Now()
	c := wantGood(t, v, must(Sign(testSecret, Grant{Subject: "alice"}, now)))
	if !c.Issued.Equal(now.Truncate(time.Millisecond)) {
		t.Errorf("a signed token is issued %v, want %v", c.Issued, now)
	}
}

// Rights are asked for each channel of each connection.
func TestDecideDoesNotAllocate(t *testing.T) {
	c := wantGood(t, newVerifier(t, Options{Secret: testSecret}),
		rawHS(`{"alg":"HS256"}`, `{"sub":"alice","teams":["red","blue"],"gateway":{"subscribe":["a","team:{teams}:**"],"publish":["user:{sub}"]}}`))
	p := &channels.Policy{Pattern: must(channels.ParsePattern("team:{teams}:**"))}
	if n := testing.AllocsPerRun(100, func() {
		if Decide(p, c, "team:blue:x") != Allowed || Decide(p, c, "team:green:x") != Forbidden || !c.MayPublish("user:alice") {
			t.Fatal("wrong decision")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestVerifyRefusesPlaceholders(t *testing.T) {
	v := newVerifier(t, Options{Secret: testSecret})
	for _, pattern := range []string{"{}", "a:{sub", "x{sub}", "{a b}", "{" + strings.Repeat("a", 65) + "}"} {
		token := rawHS(`{"alg":"HS256"}`, `{"gateway":{"subscribe":["`+pattern+`"]}}`)
		wantBad(t, v, token, ReasonPattern)
		if _, err := v.Verify(t.Context(), token); !strings.Contains(err.Error(), "gateway.subscribe[0]: ") || !strings.Contains(err.Error(), "is no placeholder") {
			t.Errorf("pattern %s: %v", pattern, err)
		}
	}
}
