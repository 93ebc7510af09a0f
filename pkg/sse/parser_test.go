package sse

import (
	"bufio"
	"io"
	"strings"
	"time"
)

// frame is what a client makes of a stream: an event, or a comment.
type frame struct {
	id      string // the last event id after this event
	event   string
	data    string
	retry   time.Duration // a reconnection time that came with it
	comment bool
}

// parser reads text/event-stream as WHATWG HTML 9.2.6 has it, word by word,
// and knows nothing of the encoder.
type parser struct {
	r      *bufio.Reader
	lastID string // "last event ID string"

	data, event, id string // the buffers
	retry           time.Duration
}

func newParser(r io.Reader) *parser { return &parser{r: bufio.NewReader(r)} }

// line returns a line without its end: CRLF, LF or CR. Each is at once a whole
// line: a parser that waited for the LF behind a CR would hang on a stream.
func (p *parser) line() (string, error) {
	var b strings.Builder
	for {
		c, err := p.r.ReadByte()
		switch {
		case err != nil:
			return "", err
		case c == '\n':
			return b.String(), nil
		case c == '\r':
			if next, err := p.r.Peek(1); err == nil && next[0] == '\n' {
				p.r.Discard(1)
			}
			return b.String(), nil
		}
		b.WriteByte(c)
	}
}

// next returns the next event or comment.
func (p *parser) next() (frame, error) {
	for {
		line, err := p.line()
		if err != nil {
			return frame{}, err // "any pending data must be discarded"
		}
		if line == "" {
			// "Set the last event ID string of the event source to the value of
			// the last event ID buffer."
			p.lastID = p.id
			f := frame{id: p.lastID, event: p.event, data: p.data, retry: p.retry}
			p.data, p.event, p.retry = "", "", 0
			if f.data == "" {
				continue // "set the data buffer and the event type buffer to the empty string and return"
			}
			f.data = strings.TrimSuffix(f.data, "\n")
			if f.event == "" {
				f.event = "message"
			}
			return f, nil
		}
		name, value, colon := strings.Cut(line, ":")
		if colon && name == "" {
			return frame{comment: true}, nil
		}
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			p.event = value
		case "data":
			p.data += value + "\n"
		case "id":
			if !strings.Contains(value, "\x00") {
				p.id = value
			}
		case "retry":
			if value != "" && strings.Trim(value, "0123456789") == "" {
				p.retry, _ = time.ParseDuration(value + "ms")
			}
		}
	}
}

// all reads to the end.
func (p *parser) all() []frame {
	var list []frame
	for {
		f, err := p.next()
		if err != nil {
			return list
		}
		list = append(list, f)
	}
}
