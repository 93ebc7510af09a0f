package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"realtime-gateway/pkg/channels"
)

// Grant is what a signed token says.
type Grant struct {
	// Subject is the user. If empty, the token names none.
	Subject string
	// Subscribe and Publish are channel patterns. If empty, the token gives no
	// such right.
	Subscribe, Publish []string
	// TTL is how long the token is valid. If zero, for ever.
	TTL time.Duration
	// ID is the token's own (jti). If empty, it has none.
	ID string
	// Issuer and Audience, if empty, are left out.
	Issuer, Audience string
	// Claims are further ones, by name, for placeholders and for others. Those
	// that the other fields stand for are refused.
	Claims map[string]any
}

// reserved are the claims that mean something to a Verifier.
var reserved = []string{"sub", "exp", "iat", "nbf", "iss", "aud", "jti", "gateway"}

// Sign returns a token, signed at the time now with HS256, that a Verifier with
// the same secret accepts. An expiry with a fraction of a second is rounded up.
// What is wrong is a *SettingError. Safe for concurrent use.
func Sign(secret string, g Grant, now time.Time) (string, error) {
	if secret == "" {
		return "", &SettingError{"Secret", errors.New("is empty")}
	}
	if err := checkSecret(secret); err != nil {
		return "", err
	}
	for _, id := range []struct{ setting, value string }{{"Subject", g.Subject}, {"ID", g.ID}} {
		if err := checkID(id.value); err != nil {
			return "", &SettingError{id.setting, err}
		}
	}
	if g.TTL < 0 {
		return "", &SettingError{"TTL", fmt.Errorf("is %v, allowed are 0 and more", g.TTL)}
	}
	rights := make(map[string][]string)
	for _, list := range []struct {
		setting, claim string
		patterns       []string
	}{{"Subscribe", "subscribe", g.Subscribe}, {"Publish", "publish", g.Publish}} {
		for _, p := range list.patterns {
			if _, err := channels.ParsePattern(p); err != nil {
				return "", &SettingError{list.setting, err}
			}
		}
		if len(list.patterns) > 0 {
			rights[list.claim] = list.patterns
		}
	}
	claims := jwt.MapClaims{}
	for name, value := range g.Claims {
		switch {
		case slices.Contains(reserved, name):
			return "", &SettingError{"Claims", fmt.Errorf("%s cannot be among them: reserved are %s", name, strings.Join(reserved, ", "))}
		case name == "":
			return "", &SettingError{"Claims", errors.New("one has no name")}
		}
		claims[name] = value
	}
	// With the fraction, so that it is later than a revocation of the same second.
	claims["iat"], claims["gateway"] = float64(now.UnixMilli())/1000, rights
	for name, value := range map[string]string{"sub": g.Subject, "jti": g.ID, "iss": g.Issuer, "aud": g.Audience} {
		if value != "" {
			claims[name] = value
		}
	}
	if g.TTL > 0 {
		claims["exp"] = now.Add(g.TTL + time.Second - 1).Unix()
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		return "", fmt.Errorf("auth: sign token: %w", err)
	}
	if len(token) > MaxTokenLen {
		return "", fmt.Errorf("auth: the token has %d bytes, allowed are %d: fewer or wider patterns, or less in its claims, are needed", len(token), MaxTokenLen)
	}
	return token, nil
}
