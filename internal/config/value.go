package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"realtime-gateway/pkg/channels"
)

// value is a typed place for a setting. Set is the only check of a setting by
// itself, wherever its text came from; its error says what is allowed and
// never repeats the text.
type value interface {
	pflag.Value
	Allowed() string
}

// secretive is a value that must not be shown as it is.
type secretive interface {
	Redacted() string
}

func notAllowed(v value) error { return errors.New("allowed is " + v.Allowed()) }

// textValue is any text on one line.
type textValue struct{ p *string }

func (v textValue) String() string  { return *v.p }
func (v textValue) Type() string    { return "string" }
func (v textValue) Allowed() string { return "text without control characters" }
func (v textValue) Set(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return notAllowed(v)
	}
	*v.p = s
	return nil
}

// secretValue is any text, never shown.
type secretValue struct{ p *string }

func (v secretValue) String() string     { return *v.p }
func (v secretValue) Type() string       { return "string" }
func (v secretValue) Allowed() string    { return "any text" }
func (v secretValue) Set(s string) error { *v.p = s; return nil }
func (v secretValue) Redacted() string {
	if *v.p == "" {
		return ""
	}
	return hidden
}

type boolValue struct{ p *bool }

func (v boolValue) String() string  { return strconv.FormatBool(*v.p) }
func (v boolValue) Type() string    { return "bool" }
func (v boolValue) Allowed() string { return "true or false" }
func (v boolValue) Set(s string) error {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return notAllowed(v)
	}
	*v.p = b
	return nil
}

type intValue struct {
	p        *int
	min, max int
}

func (v intValue) String() string { return strconv.Itoa(*v.p) }
func (v intValue) Type() string   { return "int" }
func (v intValue) Allowed() string {
	return "a whole number from " + strconv.Itoa(v.min) + " to " + strconv.Itoa(v.max)
}
func (v intValue) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < v.min || n > v.max {
		return notAllowed(v)
	}
	*v.p = n
	return nil
}

// choiceValue is one of a closed set, of any type that is a string.
type choiceValue[T ~string] struct {
	p       *T
	choices []T
}

func choiceOf[T ~string](p *T, choices ...T) choiceValue[T] { return choiceValue[T]{p, choices} }

func (v choiceValue[T]) String() string { return string(*v.p) }
func (v choiceValue[T]) Type() string   { return "string" }
func (v choiceValue[T]) Allowed() string {
	words := make([]string, len(v.choices))
	for i, c := range v.choices {
		words[i] = string(c)
	}
	return oneOf(words)
}
func (v choiceValue[T]) Set(s string) error {
	if !slices.Contains(v.choices, T(s)) {
		return notAllowed(v)
	}
	*v.p = T(s)
	return nil
}

// levels are the names of the log levels; slog itself would also take "info+2".
var levels = []string{"debug", "info", "warn", "error"}

type levelValue struct{ p *slog.Level }

// LevelName is a level as log-level has it.
func LevelName(l slog.Level) string { return levelValue{&l}.String() }

// ParseLevel reads a level as log-level has it. The error says which there are.
func ParseLevel(s string) (l slog.Level, err error) {
	if err := (levelValue{&l}).Set(s); err != nil {
		return l, fmt.Errorf("the log level is %.32q: %w", s, err)
	}
	return l, nil
}

func (v levelValue) String() string  { return strings.ToLower(v.p.String()) }
func (v levelValue) Type() string    { return "string" }
func (v levelValue) Allowed() string { return oneOf(levels) }
func (v levelValue) Set(s string) error {
	if !slices.Contains(levels, s) {
		return notAllowed(v)
	}
	return v.p.UnmarshalText([]byte(s))
}

func oneOf(words []string) string {
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// addrValue is an address to listen on.
type addrValue struct{ p *string }

func (v addrValue) String() string { return *v.p }
func (v addrValue) Type() string   { return "string" }
func (v addrValue) Allowed() string {
	return "HOST:PORT, such as :8080, 127.0.0.1:8080 or [::1]:8080, with a port from 0 to 65535"
}
func (v addrValue) Set(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || !isPort(port, 0) || host != "" && !isHost(host) {
		return notAllowed(v)
	}
	*v.p = s
	return nil
}

func isPort(s string, least uint64) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n >= least
}

func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_')
	})
}

// prefixValue begins Redis keys. A key is prefix + ":" or "." + …, hence no
// such byte in it, and none that means something in a pattern or a hash tag.
type prefixValue struct{ p *string }

func (v prefixValue) String() string  { return *v.p }
func (v prefixValue) Type() string    { return "string" }
func (v prefixValue) Allowed() string { return "1 to 32 of a-z, 0-9 and -" }
func (v prefixValue) Set(s string) error {
	if s == "" || len(s) > 32 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return notAllowed(v)
	}
	*v.p = s
	return nil
}

// nameValue is a replica's name: one word, wherever it is shown. It may be empty.
type nameValue struct{ p *string }

func (v nameValue) String() string  { return *v.p }
func (v nameValue) Type() string    { return "string" }
func (v nameValue) Allowed() string { return "at most 64 of letters, digits and ._-" }
func (v nameValue) Set(s string) error {
	wrong := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}
	if len(s) > 64 || strings.ContainsFunc(s, wrong) {
		return notAllowed(v)
	}
	*v.p = s
	return nil
}

// cookieValue is a cookie's name: an RFC 6265 section 4.1.1 token.
type cookieValue struct{ p *string }

func (v cookieValue) String() string  { return *v.p }
func (v cookieValue) Type() string    { return "string" }
func (v cookieValue) Allowed() string { return "a cookie name: letters, digits and !#$%&'*+-.^_`|~" }
func (v cookieValue) Set(s string) error {
	wrong := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	}
	if s == "" || len(s) > 128 || strings.ContainsFunc(s, wrong) {
		return notAllowed(v)
	}
	*v.p = s
	return nil
}

// patternValue is a channel pattern.
type patternValue struct{ p *channels.Pattern }

func (v patternValue) String() string { return v.p.String() }
func (v patternValue) Type() string   { return "string" }
func (v patternValue) Allowed() string {
	return "segments parted by ':', where * is one segment, ** the rest and {claim} a value of that claim of the token, such as {sub}"
}
func (v patternValue) Set(s string) error {
	p, err := channels.ParsePattern(s)
	if err != nil {
		return patternError(s, err)
	}
	*v.p = p
	return nil
}

// patternError is err without the pattern, which is shown beside it.
func patternError(pattern string, err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "pattern "+strconv.Quote(pattern)+": "))
}

// checkTemplate tells why text is no channels.Template.
func checkTemplate(text string) error {
	if _, err := channels.ParseTemplate(text); err != nil {
		return fmt.Errorf("is not: %w", patternError(text, err))
	}
	return nil
}

// durationForms shows how durations are written.
const durationForms = ", such as 500ms, 20s, 1h30m or 7d"

// durationValue is a duration of whole milliseconds.
type durationValue struct {
	p        *time.Duration
	min, max time.Duration
}

func (v durationValue) String() string { return formatDuration(*v.p) }
func (v durationValue) Type() string   { return "duration" }
func (v durationValue) Allowed() string {
	return "a duration from " + formatDuration(v.min) + " to " + formatDuration(v.max) + durationForms
}
func (v durationValue) Set(s string) error {
	d, err := parseDuration(s)
	if err != nil || d < v.min || d > v.max || d%time.Millisecond != 0 {
		return notAllowed(v)
	}
	*v.p = d
	return nil
}
