package config

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Source says where a setting's value came from. The zero Source is the
// default.
type Source struct {
	// Origin is FromFlag, FromEnvironment, FromFile or FromDefault.
	Origin Origin
	// Name is the flag with its dashes, the variable, the file as it was
	// given, or "--dev" for a default that --dev sets.
	Name string
	// Line is the line in the file, from 1.
	Line int
}

// Origin is a kind of Source.
type Origin string

// The kinds of Source.
const (
	FromDefault     Origin = ""
	FromFlag        Origin = "flag"
	FromEnvironment Origin = "environment"
	FromFile        Origin = "file"
)

// String returns "flag --addr", "environment GATEWAY_ADDR", "gateway.yaml:12",
// "default" or "default with --dev".
func (s Source) String() string {
	switch {
	case s.Origin == FromFile:
		return fmt.Sprintf("%s:%d", s.Name, s.Line)
	case s.Origin != FromDefault:
		return string(s.Origin) + " " + s.Name
	case s.Name != "":
		return "default with " + s.Name
	}
	return "default"
}

// of names the setting called key in the file together with its source, as the
// beginning of a sentence about it.
func (s Source) of(key string) string {
	if s.Origin == FromFile {
		return key + " in " + s.String()
	}
	return s.String()
}

// Error says what is wrong with the configuration, on one line and without
// secrets. The same configuration is wrong every time.
type Error struct {
	// Where names the setting and its source, such as "flag --addr" or
	// "historySize in gateway.yaml:12". Empty where a setting is missing.
	Where string
	// Reason completes the sentence that Where begins.
	Reason string
}

// Error begins with "config:".
func (e *Error) Error() string {
	if e.Where == "" {
		return "config: " + e.Reason
	}
	return "config: " + e.Where + " " + e.Reason
}

func errorf(where, format string, args ...any) *Error {
	return &Error{Where: where, Reason: fmt.Sprintf(format, args...)}
}

// wrongValue is the error for text that v refused.
func wrongValue(where string, v any, text string, err error) *Error {
	if _, secret := v.(secretive); secret {
		return errorf(where, "is wrong (the value is not shown): %v", err)
	}
	return errorf(where, "is %s: %v", quote(text), err)
}

// quote shows text from outside: on one line, and not too much of it.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return strconv.Quote(s[:cut]) + "…"
	}
	return strconv.Quote(s)
}
