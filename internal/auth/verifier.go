package auth

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MaxTokenLen is the length in bytes of the longest token that is looked at.
const MaxTokenLen = 16 << 10

// DefaultLeeway is how far clocks may differ unless another Leeway is set.
const DefaultLeeway = 5 * time.Second

const (
	maxLeeway       = 10 * time.Minute
	goodSecretBytes = 32 // RFC 7518, 3.2: HS256 wants a key "of the same size as the hash output"
)

// Options configures a Verifier. Several key sources may be set; a token is
// good if one of them verifies it.
type Options struct {
	// Secret verifies HS256, HS384 and HS512. If empty, they are refused. One
	// of less than 32 bytes is accepted with a warning.
	Secret string
	// PublicKeyFile is a PEM file with one RSA, ECDSA or Ed25519 public key
	// (PKIX, PKCS #1 or a certificate). If empty, there is none.
	PublicKeyFile string
	// JWKSURL is the http or https address of a JSON Web Key Set. If empty,
	// there is none.
	JWKSURL string
	// Issuer and Audience, if set, must be the token's iss and among its aud.
	Issuer, Audience string
	// Leeway is how far the clocks of issuer and gateway may differ, for exp
	// and nbf. If zero, DefaultLeeway is used. If negative, no difference is
	// allowed. At most ten minutes.
	Leeway time.Duration
	// Logger hears of trouble with the keys, never of tokens. If nil, nobody.
	Logger *slog.Logger
	// HTTPClient fetches the JWKS. If nil, one with timeouts is used. A fetch
	// ends after ten seconds with either.
	HTTPClient *http.Client
}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	parser    *jwt.Parser
	validator *jwt.Validator
	algs      []string // accepted by any key source
	issuer    string

	secret     []byte
	static     crypto.PublicKey // nil: none
	staticAlgs []string
	remote     *remoteKeys // nil: none
}

// New returns a Verifier, or a *SettingError that names the wrong setting.
// Without any key source it refuses every token.
//
// With a JWKS URL, New starts one goroutine, which ends with ctx; Wait waits
// for that. New does not wait for the keys, so an unreachable URL does not
// keep the gateway from starting.
func New(ctx context.Context, o Options) (*Verifier, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{
		issuer: o.Issuer,
		algs:   []string{}, // to the parser, nil would mean any
	}
	if o.Secret != "" {
		if err := checkSecret(o.Secret); err != nil {
			return nil, err
		}
		if len(o.Secret) < goodSecretBytes {
			log.Warn("the shared secret for tokens is short and may be guessed", "bytes", len(o.Secret), "recommended", goodSecretBytes)
		}
		v.secret = []byte(o.Secret)
		v.algs = append(v.algs, hmacAlgorithms...)
	}
	if o.PublicKeyFile != "" {
		var err error
		if v.static, err = readPublicKey(o.PublicKeyFile); err == nil {
			v.staticAlgs, err = algorithmsOf(v.static)
		}
		if err != nil {
			return nil, &SettingError{"PublicKeyFile", err}
		}
		v.algs = append(v.algs, v.staticAlgs...)
	}
	if o.Leeway > maxLeeway {
		return nil, &SettingError{"Leeway", fmt.Errorf("is %v, allowed is at most %v", o.Leeway, maxLeeway)}
	}
	leeway := max(o.Leeway, 0)
	if o.Leeway == 0 {
		leeway = DefaultLeeway
	}
	claims := []jwt.ParserOption{jwt.WithLeeway(leeway)}
	if o.Issuer != "" {
		claims = append(claims, jwt.WithIssuer(o.Issuer))
	}
	if o.Audience != "" {
		claims = append(claims, jwt.WithAudience(o.Audience))
	}
	v.validator = jwt.NewValidator(claims...)
	if o.JWKSURL != "" {
		var err error
		if v.remote, err = newRemoteKeys(o.JWKSURL, o.HTTPClient, log); err != nil {
			return nil, &SettingError{"JWKSURL", err}
		}
		v.algs = append(v.algs, asymmetricAlgorithms...)
		go v.remote.run(ctx)
	}
	// The claims are validated after they were decoded, by Verify.
	v.parser = jwt.NewParser(jwt.WithValidMethods(v.algs), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
	return v, nil
}

// Wait returns when the goroutine that New started, if any, has ended, which
// it does soon after New's context.
func (v *Verifier) Wait() {
	if v.remote != nil {
		<-v.remote.stopped
	}
}

// Ready returns nil if tokens of every configured key source can be verified,
// and ErrUnavailable while the JWKS has not been loaded.
func (v *Verifier) Ready() error {
	if v.remote != nil && v.remote.current() == nil {
		return ErrUnavailable
	}
	return nil
}

// KeySetLoaded is when the JWKS was last loaded; zero before the first time, and
// where there is none.
func (v *Verifier) KeySetLoaded() time.Time {
	if v.remote == nil {
		return time.Time{}
	}
	return v.remote.loadedAt()
}

// Verify checks a token and returns what it says. The error matches ErrNoToken
// (token is empty), ErrBadToken (then it is a *TokenError) or ErrUnavailable.
// It never contains the token.
//
// Verify waits only where the token's key is not known and a fetch of the JWKS
// may bring it, for a few seconds at most or until ctx ends, which is reported
// as ErrUnavailable.
func (v *Verifier) Verify(ctx context.Context, token string) (*Claims, error) {
	switch {
	case token == "":
		return nil, ErrNoToken
	case len(token) > MaxTokenLen:
		return nil, bad(ReasonTooLong)
	case strings.ContainsAny(token, "\r\n"):
		return nil, bad(ReasonMalformed) // encoding/base64 would skip them
	}
	var p payload
	var keyErr error
	parsed, err := v.parser.ParseWithClaims(token, &p, func(t *jwt.Token) (any, error) {
		var key any
		key, keyErr = v.key(ctx, t, &p)
		return key, keyErr
	})
	switch {
	case keyErr != nil:
		return nil, keyErr
	case err != nil:
		return nil, bad(v.parseReason(parsed, err))
	}
	if err := v.check(&p); err != nil {
		return nil, err
	}
	c := &Claims{Subject: p.subject, ID: p.id, Subscribe: p.subscribe, Publish: p.publish, Raw: p.raw, fields: p.fields}
	if p.expires != nil {
		c.Expires = p.expires.Time
	}
	if p.issued != nil {
		c.Issued = p.issued.Time
	}
	return c, nil
}

// key chooses the key for a token whose algorithm is among the accepted. The
// algorithm leads to the sources whose keys are of its type, never further.
func (v *Verifier) key(ctx context.Context, t *jwt.Token, p *payload) (any, error) {
	// RFC 7515, 4.1.11: "If any of the listed extension Header Parameters are
	// not understood and supported by the recipient, then the JWS is invalid."
	if _, ok := t.Header["crit"]; ok {
		return nil, bad(ReasonExtension)
	}
	alg := t.Method.Alg()
	if slices.Contains(hmacAlgorithms, alg) {
		if len(v.secret) == 0 {
			return nil, bad(ReasonAlgorithm)
		}
		return v.secret, nil
	}
	if slices.Contains(v.staticAlgs, alg) {
		// With a JWKS too, the key that fits is tried first, so that its tokens
		// do not depend on the URL, nor cause fetches for a kid unknown there.
		if v.remote == nil || t.Method.Verify(t.Raw[:strings.LastIndexByte(t.Raw, '.')], t.Signature, v.static) == nil {
			return v.static, nil
		}
	}
	if v.remote == nil {
		return nil, bad(ReasonAlgorithm)
	}
	seen := v.remote.current()
	key, err := seen.key(ctx, t)
	if !errors.Is(err, errUnknownKey) {
		return key, err
	}
	// No key makes a token good whose claims are not. Those that most often
	// name a key that has gone are old ones, which need no fetch, nor an answer
	// that has them try again.
	if err := v.check(p); err != nil {
		return nil, err
	}
	return v.remote.newer(ctx, seen, t)
}

// check tells, without regard to the signature, what is wrong with the claims.
func (v *Verifier) check(p *payload) error {
	if err := p.decode(); err != nil {
		return err
	}
	if err := v.validator.Validate(p); err != nil {
		return bad(v.claimReason(p, err))
	}
	return nil
}

// parseReason tells why a token has no valid signature. The library's own text
// may quote the token and is dropped.
func (v *Verifier) parseReason(t *jwt.Token, err error) Reason {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return ReasonMalformed
	case t == nil || t.Method == nil || !slices.Contains(v.algs, t.Method.Alg()):
		return ReasonAlgorithm
	}
	return ReasonSignature
}

// claimReason tells why a signed token is not valid here and now.
func (v *Verifier) claimReason(p *payload, err error) Reason {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return ReasonExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return ReasonNotYet
	case v.issuer != "" && p.issuer != v.issuer:
		return ReasonIssuer
	}
	return ReasonAudience
}
