package channels

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Render returns the event's type and its JSON as subscribers get it: one
// object on one line, without control characters.
//
// A payload that is a JSON object with a string "type" is the event: its
// fields are kept as they are, in their order, except for "channel", which is
// always the gateway's own; "event_id" and "timestamp" are added where absent.
// Any other payload becomes "data": as JSON where it is an object or an array,
// otherwise as a string; the type is then the event's Type, or DefaultType. So
// does an object whose "type" is reserved or could forge a field of the wire
// format (see ValidType): nothing is lost, and nothing is believed.
//
// Render is a pure function. Its cost is linear in the payload.
func Render(channel string, e *Event) (eventType string, object []byte) {
	payload := strings.TrimLeft(e.Payload, " \t\r\n")
	var compact bytes.Buffer
	isJSON := false
	if payload != "" && (payload[0] == '{' || payload[0] == '[') {
		compact.Grow(len(payload))
		isJSON = json.Compact(&compact, []byte(payload)) == nil
	}
	out := make([]byte, 0, len(e.Payload)+len(channel)+128)
	out = append(out, `{"channel":`...)
	out = appendString(out, channel)
	if isJSON && payload[0] == '{' {
		fields := scan(compact.Bytes())
		if fields.typed && ValidType(fields.eventType) {
			if !fields.eventID {
				out = e.appendID(out)
			}
			if !fields.timestamp {
				out = e.appendTimestamp(out)
			}
			for _, member := range fields.kept {
				out = append(append(out, ','), member...)
			}
			return fields.eventType, append(out, '}')
		}
	}
	eventType = e.Type
	if !ValidType(eventType) {
		eventType = DefaultType
	}
	out = e.appendID(out)
	out = appendString(append(out, `,"type":`...), eventType)
	out = e.appendTimestamp(out)
	out = append(out, `,"data":`...)
	if isJSON {
		out = append(out, compact.Bytes()...)
	} else {
		out = appendString(out, e.Payload)
	}
	return eventType, append(out, '}')
}

func (e *Event) appendID(out []byte) []byte {
	id := e.EventID
	if id == "" {
		id = e.Position.String()
	}
	return appendString(append(out, `,"event_id":`...), id)
}

func (e *Event) appendTimestamp(out []byte) []byte {
	out = append(out, `,"timestamp":"`...)
	out = e.Position.Time().AppendFormat(out, "2006-01-02T15:04:05.000Z")
	return append(out, '"')
}

// fields is what Render needs to know of a JSON object's members.
type fields struct {
	kept               [][]byte // members as written, "name":value, without channel
	eventType          string
	typed              bool
	eventID, timestamp bool
}

// scan reads the members of object, which must be valid compact JSON. Of
// several members of one name the last counts, as for JSON.parse.
func scan(object []byte) fields {
	var f fields
	for i := 1; i < len(object) && object[i] != '}'; i++ { // i is at a name, or at the comma before
		if object[i] == ',' {
			i++
		}
		start := i
		i = skipString(object, i)
		name := object[start+1 : i-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name = []byte(unquote(object[start:i]))
		}
		i++ // the colon
		value := i
		i = skipValue(object, i)
		switch string(name) {
		case "channel":
			i--
			continue
		case "event_id":
			f.eventID = true
		case "timestamp":
			f.timestamp = true
		case "type":
			f.typed = object[value] == '"'
			if f.typed {
				f.eventType = unquote(object[value:i])
			}
		}
		f.kept = append(f.kept, object[start:i])
		i--
	}
	return f
}

// skipString returns the index behind the string that begins at b[i].
func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipValue returns the index behind the value that begins at b[i].
func skipValue(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = skipString(b, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

func unquote(quoted []byte) string {
	var s string
	_ = json.Unmarshal(quoted, &s) // the caller has valid JSON
	return s
}

// appendString appends s as a JSON string. Unlike json.Marshal it leaves <, >
// and & readable: the output is never put into HTML.
func appendString(out []byte, s string) []byte {
	if plain(s) {
		out = append(out, '"')
		out = append(out, s...)
		return append(out, '"')
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return append(out, bytes.TrimRight(b.Bytes(), "\n")...)
}

func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
