package sse

import (
	"strconv"
	"strings"
	"time"

	"realtime-gateway/pkg/channels"
)

// Message is one server-sent event. Empty fields are left out.
type Message struct {
	ID    string
	Event string
	Data  string        // any text; line ends of all kinds arrive as "\n"
	Retry time.Duration // rounded down to milliseconds
}

// Append appends the message in the text/event-stream format to dst. Nothing
// in a field can forge another one: line ends are what separates fields
// (WHATWG HTML 9.2.5), so Data is split at each of them, and ID and Event,
// which cannot hold any, end at the first; so does an ID at a NUL, with which
// a client would ignore it. What is left empty by that is left out: an empty
// id would reset the client's.
func (m Message) Append(dst []byte) []byte {
	id, event := oneLine(m.ID), oneLine(m.Event)
	if m.Retry > 0 {
		dst = append(dst, "retry: "...)
		dst = strconv.AppendInt(dst, m.Retry.Milliseconds(), 10)
		dst = append(dst, '\n')
	}
	if id != "" {
		dst = appendField(dst, "id: ", id)
	}
	if event != "" {
		dst = appendField(dst, "event: ", event)
	}
	if m.Data != "" || event != "" {
		for rest, more := m.Data, true; more; {
			var line string
			line, rest, more = cutLine(rest)
			dst = append(dst, "data: "...)
			dst = append(dst, line...)
			dst = append(dst, '\n')
		}
	}
	return append(dst, '\n')
}

// oneLine cuts s where it could not go on in one field.
func oneLine(s string) string {
	if i := strings.IndexAny(s, "\r\n\x00"); i >= 0 {
		return s[:i]
	}
	return s
}

func appendField(dst []byte, name, value string) []byte {
	return append(append(append(dst, name...), value...), '\n')
}

// cutLine cuts s at its first line end: CRLF, LF or CR.
func cutLine(s string) (line, rest string, more bool) {
	i := strings.IndexAny(s, "\r\n")
	if i < 0 {
		return s, "", false
	}
	if strings.HasPrefix(s[i:], "\r\n") {
		return s[:i], s[i+2:], true
	}
	return s[:i], s[i+1:], true
}

// EncodeEvent makes the bytes of an event, to be shared by all its
// subscribers: channels.Options.Encode.
func EncodeEvent(channel string, e *channels.Event) channels.Encoded {
	eventType, object := channels.Render(channel, e)
	frame := make([]byte, 0, len(object)+len(eventType)+64)
	frame = append(frame, "id: "...)
	frame = channels.AppendCursor(frame, []channels.Mark{{Hash: channels.HashName(channel), Position: e.Position}})
	frame = append(frame, '\n')
	body := len(frame)
	frame = appendField(frame, "event: ", oneLine(eventType))
	// The object is compact JSON: one line.
	frame = append(frame, "data: "...)
	data := len(frame)
	frame = append(frame, object...)
	frame = append(frame, '\n', '\n')
	return channels.Encoded{Frame: frame, Body: body, From: data, To: data + len(object)}
}

// appendComment appends a heartbeat that an EventSource reads and ignores.
func appendComment(dst []byte) []byte { return append(dst, ":\n\n"...) }
