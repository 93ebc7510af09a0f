package channels

import (
	"fmt"
	"strings"
)

// MaxNameLen is the length in bytes of the longest channel name.
const MaxNameLen = 255

// NameError says what is wrong with a channel name. It is permanent: the same
// name is wrong every time.
type NameError struct {
	Name   string // as given, shortened for display
	Reason string
}

// Error names the channel and the rule that it breaks.
func (e *NameError) Error() string {
	return fmt.Sprintf("channel name %q: %s", e.Name, e.Reason)
}

// CheckName reports, as a *NameError, why name cannot be a channel's name, or
// nil. A name has 1 to MaxNameLen bytes of A-Z a-z 0-9 . _ ~ @ / + = - in
// segments parted by ':', none of them empty. Safe for concurrent use.
func CheckName(name string) error {
	fail := func(format string, args ...any) error {
		shown := name
		if len(shown) > 64 {
			shown = shown[:64] + "…"
		}
		return &NameError{Name: shown, Reason: fmt.Sprintf(format, args...)}
	}
	if len(name) == 0 || len(name) > MaxNameLen {
		return fail("has %d bytes, allowed are 1 to %d", len(name), MaxNameLen)
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c != ':' && !nameByte(c) {
			return fail("byte %d is not one of A-Z a-z 0-9 . _ ~ @ / + = - or the separator ':'", i+1)
		}
	}
	if emptySegment(name) {
		return fail("has an empty segment (nothing before, between or after ':')")
	}
	return nil
}

// IsSegment tells whether s can stand between the ':' of a channel name: it has
// at least one byte, and only such as a name has.
func IsSegment(s string) bool {
	for i := range len(s) {
		if !nameByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func emptySegment(name string) bool {
	return name[0] == ':' || name[len(name)-1] == ':' || strings.Contains(name, "::")
}

func nameByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("._~@/+=-", c) >= 0
}
