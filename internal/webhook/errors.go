package webhook

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What Ask returns and leases end with; compare with errors.Is.
var (
	// ErrDenied means that the application said no. The error is a
	// *DeniedError.
	ErrDenied = errors.New("denied by the application")
	// ErrUnavailable means that nobody can tell now. Temporary. The text says
	// why and is meant for logs.
	ErrUnavailable = errors.New("the application that decides about channels is not available at the moment")
	// ErrTokenExpired ends a lease whose token has expired. The application was
	// not asked: no answer outlives the token.
	ErrTokenExpired = errors.New("the token has expired")
)

// DeniedError is a denial. It matches ErrDenied.
type DeniedError struct {
	// Reason is the application's own, which may be empty: one line of valid
	// UTF-8 with maxReason bytes at most, safe to show to the user.
	Reason string
	// Until is how long the denial stands.
	Until time.Time
}

// Error returns the text of ErrDenied with the reason.
func (e *DeniedError) Error() string {
	if e.Reason == "" {
		return ErrDenied.Error()
	}
	return ErrDenied.Error() + ": " + e.Reason
}

// Is makes the error match ErrDenied.
func (e *DeniedError) Is(target error) bool { return target == ErrDenied }

// SettingError is a setting that New cannot work with. Its text never contains
// the setting's value.
type SettingError struct {
	Setting string // the name of the field of Options
	Err     error
}

// Error returns the setting's name and what is wrong with it.
func (e *SettingError) Error() string { return "webhook: " + e.Setting + ": " + e.Err.Error() }

// Unwrap returns what is wrong with the setting.
func (e *SettingError) Unwrap() error { return e.Err }

// failure is why there is no answer.
type failure struct {
	result Result
	text   string
	again  bool // trying again may cure it
	counts bool // it speaks against the application, for the circuit
}

func (f *failure) Error() string { return f.text }

func unavailable(cause error) error { return fmt.Errorf("%w: %w", ErrUnavailable, cause) }

// maxReason bounds text from outside that is shown or logged.
const maxReason = 200

// oneLine makes text from outside fit to be shown: valid, printable, on one
// line, and maxReason bytes at most.
func oneLine(text string) string {
	// Enough to fill the bound, unless most of it is white space.
	text = text[:min(len(text), 8*maxReason)]
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // also the marks that turn the direction of writing
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= maxReason {
		return text
	}
	end := maxReason
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.TrimSpace(text[:end])
}
