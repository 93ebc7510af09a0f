package auth

import "errors"

// Result is how the question who a request is from was answered. The set is
// closed, so it labels a metric.
type Result string

// The results.
const (
	ResultOK          Result = "ok"          // a good token
	ResultNone        Result = "none"        // no token
	ResultExpired     Result = "expired"     // a token whose time is over
	ResultBad         Result = "bad"         // a token that is wrong in another way
	ResultRevoked     Result = "revoked"     // a good token, whose rights were taken back
	ResultUnread      Result = "unread"      // a good token; whether its rights were taken back could not be read from Redis
	ResultUnavailable Result = "unavailable" // nobody can tell now: the keys are missing
)

// ResultOf returns what an error of Verify means.
func ResultOf(err error) Result {
	var bad *TokenError
	switch {
	case err == nil:
		return ResultOK
	case errors.Is(err, ErrNoToken):
		return ResultNone
	case errors.As(err, &bad) && bad.Reason == ReasonExpired:
		return ResultExpired
	case errors.As(err, &bad):
		return ResultBad
	}
	return ResultUnavailable
}
