package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, Options{Secret: testSecret, Issuer: "me", Audience: "gateway", Leeway: -1})
		token, err := Sign(testSecret, Grant{
			Subject: "alice", Subscribe: []string{"project:*:tasks", "user:{sub}"}, Publish: []string{"chat"},
			TTL: 1500 * time.Millisecond, ID: "t1", Issuer: "me", Audience: "gateway", Claims: map[string]any{"teams": []string{"red", "blue"}},
		}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c := wantGood(t, v, token)
		if got, want := fmt.Sprintf("%s %s %s %s %s", c.Subject, c.ID, c.Subscribe, c.Publish, c.Values("teams")), "alice t1 [project:*:tasks user:{sub}] [chat] [red blue]"; got != want {
			t.Errorf("claims are %s, want %s", got, want)
		}
		if left := time.Until(c.Expires); left != 2*time.Second {
			t.Errorf("expires in %v, want 1.5s rounded up", left)
		}
		time.Sleep(2 * time.Second)
		wantBad(t, v, token, ReasonExpired)
	})
}

func TestSignLeavesOutWhatIsEmpty(t *testing.T) {
	token := must(Sign(testSecret, Grant{}, time.Now()))
	c := wantGood(t, newVerifier(t, Options{Secret: testSecret}), token)
	if c.Subject != "" || c.ID != "" || !c.Expires.IsZero() || len(c.Subscribe)+len(c.Publish) != 0 {
		t.Errorf("claims are %+v, want none", c)
	}
	wantBad(t, newVerifier(t, Options{Secret: testSecret + "x"}), token, ReasonSignature)
}

func TestSignRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, secret string
		grant        Grant
		setting      string
	}{
		{"no secret", "", Grant{}, "Secret"},
		{"public key as secret", "-----BEGIN PUBLIC KEY-----\n", Grant{}, "Secret"},
		{"subscribe pattern", testSecret, Grant{Subscribe: []string{"a", "a::b"}}, "Subscribe"},
		{"publish pattern", testSecret, Grant{Publish: []string{"**:a"}}, "Publish"},
		{"claim without a name", testSecret, Grant{Claims: map[string]any{"": 1}}, "Claims"},
		{"reserved claim", testSecret, Grant{Claims: map[string]any{"team": "red", "gateway": map[string]any{"subscribe": []string{"**"}}}}, "Claims"},
		{"negative TTL", testSecret, Grant{TTL: -1}, "TTL"},
		{"long subject", testSecret, Grant{Subject: strings.Repeat("a", 256)}, "Subject"},
		{"control character", testSecret, Grant{ID: "a\nb"}, "ID"},
		{"not UTF-8", testSecret, Grant{Subject: "\xff"}, "Subject"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, err := Sign(tt.secret, tt.grant, time.Now())
			if token != "" {
				t.Error("got a token")
			}
			wantSetting(t, err, tt.setting)
		})
	}
	t.Run("too long", func(t *testing.T) {
		var setting *SettingError
		patterns := make([]string, 100)
		for i := range patterns {
			patterns[i] = strings.Repeat("a", 200)
		}
		if _, err := Sign(testSecret, Grant{Subscribe: patterns}, time.Now()); err == nil || errors.As(err, &setting) {
			t.Errorf("Sign = %v, want an error about the length", err)
		}
	})
}
