package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"realtime-gateway/pkg/channels"
)

// maxIDLen is the length in bytes of the longest sub and jti: they become parts
// of Redis keys and of log lines.
const maxIDLen = 255

// maxTime is the end of the year 9999 in seconds. A later time is most often
// one in milliseconds.
const maxTime = 253402300799

// payload is a token's set of claims. Unmarshalling, which the library does
// before it checks the signature, keeps the claims as text; decode, which may
// be called again, reads them. A map rather than a struct, because encoding/json would let a claim "Sub" stand in
// for "sub".
type payload struct {
	raw    json.RawMessage
	fields map[string]json.RawMessage

	issuer, subject, id        string
	audience                   jwt.ClaimStrings
	expires, notBefore, issued *jwt.NumericDate
	subscribe, publish         []channels.Pattern
}

func (p *payload) UnmarshalJSON(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("not UTF-8") // decoding would make different names equal
	}
	p.raw = bytes.Clone(text) // the decoder's otherwise
	return json.Unmarshal(text, &p.fields)
}

// The methods of jwt.Claims.

func (p *payload) GetExpirationTime() (*jwt.NumericDate, error) { return p.expires, nil }
func (p *payload) GetNotBefore() (*jwt.NumericDate, error)      { return p.notBefore, nil }
func (p *payload) GetIssuedAt() (*jwt.NumericDate, error)       { return p.issued, nil }
func (p *payload) GetIssuer() (string, error)                   { return p.issuer, nil }
func (p *payload) GetSubject() (string, error)                  { return p.subject, nil }
func (p *payload) GetAudience() (jwt.ClaimStrings, error)       { return p.audience, nil }

// decode reads the claims; each has its type or the token is bad.
func (p *payload) decode() error {
	if p.fields == nil {
		return bad(ReasonMalformed) // null
	}
	for _, c := range []struct {
		name string
		into func(json.RawMessage) error
	}{
		{"iss", text(&p.issuer)},
		{"sub", name(&p.subject)},
		{"jti", name(&p.id)},
		{"aud", audience(&p.audience)},
		{"exp", moment(&p.expires)},
		{"nbf", moment(&p.notBefore)},
		{"iat", moment(&p.issued)},
		{"gateway", p.rights},
	} {
		raw, ok := p.fields[c.name]
		if !ok {
			continue
		}
		if err := c.into(raw); err != nil {
			var known *TokenError
			if errors.As(err, &known) {
				return known
			}
			return &TokenError{ReasonClaim, c.name + " " + err.Error()}
		}
	}
	return nil
}

// rights reads {"subscribe": [patterns], "publish": [patterns]}.
func (p *payload) rights(raw json.RawMessage) error {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		return errors.New("is not an object")
	}
	for _, list := range []struct {
		name string
		into *[]channels.Pattern
	}{{"subscribe", &p.subscribe}, {"publish", &p.publish}} {
		raw, ok := fields[list.name]
		if !ok || string(raw) == "null" {
			continue // many libraries write an empty list as null
		}
		path := "gateway." + list.name
		var sources []*string // pointers, because null would pass for ""
		if json.Unmarshal(raw, &sources) != nil || sources == nil {
			return &TokenError{ReasonClaim, path + " is not a list of strings"}
		}
		patterns := make([]channels.Pattern, len(sources))
		for i, source := range sources {
			if source == nil {
				return &TokenError{ReasonClaim, path + " is not a list of strings"}
			}
			var err error
			if patterns[i], err = channels.ParsePattern(*source); err != nil {
				return &TokenError{ReasonPattern, fmt.Sprintf("%s[%d]: %v", path, i, err)}
			}
		}
		*list.into = patterns
	}
	return nil
}

func text(into *string) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, into) != nil {
			return errors.New("is not a string")
		}
		return nil
	}
}

// name is a text that ends up in keys and logs.
func name(into *string) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		if err := text(into)(raw); err != nil {
			return err
		}
		return checkID(*into)
	}
}

func checkID(s string) error {
	if len(s) > maxIDLen {
		return fmt.Errorf("has %d bytes, allowed are %d", len(s), maxIDLen)
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return errors.New("has a control character or is not UTF-8")
		}
	}
	return nil
}

// audience reads a string or a list of strings (RFC 7519, 4.1.3).
func audience(into *jwt.ClaimStrings) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		if string(raw) == "null" || json.Unmarshal(raw, into) != nil {
			return errors.New("is not a string or a list of strings")
		}
		return nil
	}
}

// moment reads seconds since 1970, with or without a fraction.
func moment(into **jwt.NumericDate) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var seconds *float64
		if json.Unmarshal(raw, &seconds) != nil || seconds == nil {
			return errors.New("is not a number")
		}
		if *seconds < 0 || *seconds > maxTime {
			return errors.New("is not a time in seconds since 1970")
		}
		whole, fraction := math.Modf(*seconds)
		*into = &jwt.NumericDate{Time: time.Unix(int64(whole), int64(math.Round(fraction*1e6))*1000)}
		return nil
	}
}

// segmentsIn reads what a placeholder stands for out of a claim. What can be no
// segment of a channel's name is left out and so matches nothing; it makes the
// token no worse, because tokens carry claims for others too.
func segmentsIn(raw json.RawMessage) []string {
	list := []json.RawMessage{raw}
	if len(raw) > 0 && raw[0] == '[' && json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var out []string
	seen := make(map[string]bool, len(list))
	for _, element := range list {
		if value := segmentIn(element); channels.IsSegment(value) && !seen[value] {
			seen[value] = true
			out = append(out, value)
		}
	}
	return out
}

// segmentIn returns a string, or an integer as it is written, and else "".
func segmentIn(raw json.RawMessage) string {
	switch {
	case len(raw) == 0:
		return ""
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		if bytes.ContainsAny(raw, ".eE") {
			return ""
		}
		return string(raw)
	}
	var value string
	if text(&value)(raw) != nil {
		return ""
	}
	return value
}
