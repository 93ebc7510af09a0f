package auth

import "errors"

// What Verify returns; compare with errors.Is.
var (
	// ErrNoToken means that there is no token at all. Permanent.
	ErrNoToken = errors.New("no token")
	// ErrBadToken means that the token is not acceptable. Permanent: the same
	// token will not become good by asking again. The error is a *TokenError,
	// which says why.
	ErrBadToken = errors.New("bad token")
	// ErrUnavailable means that nobody can tell now, because the keys are not
	// loaded or cannot be renewed. Temporary.
	ErrUnavailable = errors.New("the keys that verify tokens are not available at the moment")
)

// Reason is why a token is bad. The set is closed, so it may label a metric.
type Reason string

// The reasons.
const (
	ReasonMalformed Reason = "malformed"
	ReasonTooLong   Reason = "too long"
	ReasonExtension Reason = "needs an unknown extension (crit)"
	ReasonAlgorithm Reason = "algorithm is not accepted"
	ReasonKeyID     Reason = "key id (kid) is missing or malformed"
	ReasonKey       Reason = "key is unknown"
	ReasonSignature Reason = "signature is wrong"
	ReasonExpired   Reason = "expired"
	ReasonNotYet    Reason = "not valid yet"
	ReasonIssuer    Reason = "issuer is wrong"
	ReasonAudience  Reason = "audience is wrong"
	ReasonClaim     Reason = "claim is malformed"
	ReasonPattern   Reason = "channel pattern is malformed"
)

// TokenError is a bad token. Its text is safe to show to whoever sent the
// token, and to log: one line, which quotes at most one channel pattern. It
// matches ErrBadToken.
type TokenError struct {
	Reason Reason
	Detail string // which claim or pattern; may be empty
}

// Error returns "bad token: " with the reason and the detail.
func (e *TokenError) Error() string {
	text := ErrBadToken.Error() + ": " + string(e.Reason)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Is makes the error match ErrBadToken.
func (e *TokenError) Is(target error) bool { return target == ErrBadToken }

func bad(r Reason) error { return &TokenError{Reason: r} }

// SettingError is a setting that New or Sign cannot work with. Setting is the
// name of the field of Options or Grant, "Secret" for both secrets. The text
// never contains the setting's value where that is secret.
type SettingError struct {
	Setting string
	Err     error
}

// Error returns the setting's name and what is wrong with it.
func (e *SettingError) Error() string { return "auth: " + e.Setting + ": " + e.Err.Error() }

// Unwrap returns what is wrong with the setting.
func (e *SettingError) Unwrap() error { return e.Err }
