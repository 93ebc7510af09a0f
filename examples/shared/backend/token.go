package backend

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Claims are those of a token: the user, and which channels it may read.
type Claims struct {
	jwt.RegisteredClaims
	Gateway struct {
		Subscribe []string `json:"subscribe"`
	} `json:"gateway"`
}

// Sign signs a token of 10 minutes with TOKEN_SECRET, which the gateway knows as
// GATEWAY_JWT_SECRET.
func Sign(user string, subscribe ...string) (string, error) {
	var c Claims
	c.Subject, c.Gateway.Subscribe = user, subscribe
	c.IssuedAt, c.ExpiresAt = jwt.NewNumericDate(time.Now()), jwt.NewNumericDate(time.Now().Add(10*time.Minute))
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(os.Getenv("TOKEN_SECRET")))
}

// User returns whose token a request has as Authorization: Bearer.
func User(r *http.Request) (string, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return "", Problem(http.StatusUnauthorized, "sign in first")
	}
	var c Claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return []byte(os.Getenv("TOKEN_SECRET")), nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
	if err != nil || c.Subject == "" {
		return "", Problem(http.StatusUnauthorized, errors.Join(errors.New("the token does not count"), err).Error())
	}
	return c.Subject, nil
}
