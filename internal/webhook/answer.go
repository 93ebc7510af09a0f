package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

const (
	// maxAnswer is the size in bytes of the longest answer that is read.
	maxAnswer = 16 << 10
	// maxTTL is the longest lifetime of an answer; a longer one is shortened.
	maxTTL = time.Hour
)

// answer is what the application said.
type answer struct {
	allow  bool
	ttl    time.Duration
	ttlSet bool
	reason string
}

// parseAnswer reads the application's answer. It is strict where a right
// depends on it: encoding/json alone would take "Allow" for allow, and the
// second of two.
func parseAnswer(body []byte) (answer, error) {
	var a answer
	switch {
	case len(body) > maxAnswer:
		return a, fmt.Errorf("is longer than %d bytes", maxAnswer)
	case !utf8.Valid(body):
		return a, errors.New("is not valid UTF-8")
	case !json.Valid(body):
		return a, errors.New("is not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return a, errors.New("is not a JSON object")
	}
	fields := make(map[string]json.RawMessage, 3)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return a, errors.New("is not JSON")
		}
		name, _ := token.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return a, errors.New("is not JSON")
		}
		switch name {
		case "allow", "ttl", "reason":
			if _, twice := fields[name]; twice {
				return a, fmt.Errorf("has %s twice", name)
			}
			fields[name] = value
		}
	}
	switch string(fields["allow"]) {
	case "true":
		a.allow = true
	case "false":
	case "":
		return a, errors.New("has no allow")
	default:
		return a, errors.New("has an allow that is neither true nor false")
	}
	// Many encoders write null for what is absent.
	if raw := fields["ttl"]; raw != nil && string(raw) != "null" {
		var seconds float64
		if err := json.Unmarshal(raw, &seconds); err != nil || seconds < 0 {
			return answer{}, errors.New("has a ttl that is not a number of seconds, 0 or more")
		}
		a.ttlSet = true
		a.ttl = maxTTL
		if seconds < maxTTL.Seconds() {
			a.ttl = time.Duration(seconds * float64(time.Second))
		}
	}
	if raw := fields["reason"]; raw != nil && string(raw) != "null" {
		var reason string
		if err := json.Unmarshal(raw, &reason); err != nil {
			return answer{}, errors.New("has a reason that is not a string")
		}
		a.reason = oneLine(reason)
	}
	return a, nil
}
