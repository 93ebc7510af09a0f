package load

import (
	"bytes"
	"strconv"
)

// Marker says which event a payload is. Nothing in its text is changed by JSON,
// so it is found in whatever the server makes of the payload.
type Marker struct {
	Run     uint64 // parts this measurement from what others left behind
	Channel int
	Seq     uint64 // 1, 2, 3 … within the channel
	Sent    int64  // when, on the ledger's clock
}

var markerBegin = []byte("~load/")

const markerEnd = '~'

// append appends the marker's text to dst.
func (m Marker) append(dst []byte) []byte {
	dst = append(dst, markerBegin...)
	dst = append(strconv.AppendUint(dst, m.Run, 36), '/')
	dst = append(strconv.AppendInt(dst, int64(m.Channel), 10), '/')
	dst = append(strconv.AppendUint(dst, m.Seq, 10), '/')
	dst = strconv.AppendInt(dst, m.Sent, 10)
	return append(dst, markerEnd)
}

// AppendPayload appends the payload of the marker's event to dst: a JSON object
// of size bytes, or of what the marker needs if that is more.
func (m Marker) AppendPayload(dst []byte, size int) []byte {
	start := len(dst)
	dst = append(dst, `{"type":"load","data":{"mark":"`...)
	dst = m.append(dst)
	dst = append(dst, `","pad":"`...)
	const end = `"}}`
	for len(dst)-start < size-len(end) {
		dst = append(dst, 'x')
	}
	return append(dst, end...)
}

// findMarker reads the first marker in line.
func findMarker(line []byte) (m Marker, ok bool) {
	at := bytes.Index(line, markerBegin)
	if at < 0 {
		return m, false
	}
	rest := line[at+len(markerBegin):]
	var channel, sent uint64
	for _, field := range []struct {
		to   *uint64
		base uint64
		end  byte
	}{{&m.Run, 36, '/'}, {&channel, 10, '/'}, {&m.Seq, 10, '/'}, {&sent, 10, markerEnd}} {
		var n int
		if *field.to, n = number(rest, field.base); n == 0 || n >= len(rest) || rest[n] != field.end {
			return Marker{}, false
		}
		rest = rest[n+1:]
	}
	m.Channel, m.Sent = int(channel), int64(sent)
	return m, true
}

// number reads digits and returns how many there were. It is what the client
// does most, and strconv would need a string.
func number(text []byte, base uint64) (v uint64, n int) {
	for n < len(text) {
		var digit uint64
		switch c := text[n]; {
		case c >= '0' && c <= '9':
			digit = uint64(c - '0')
		case base > 10 && c >= 'a' && c <= 'z':
			digit = uint64(c-'a') + 10
		default:
			return v, n
		}
		v = v*base + digit
		n++
	}
	return v, n
}
