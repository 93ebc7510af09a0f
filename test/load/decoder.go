package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxHead bounds what is kept of a response that never gets to its body.
const maxHead = 64 << 10

// errEnded is returned after a body that said where it ends.
var errEnded = errors.New("the response has ended")

// decoder takes one HTTP/1.1 response apart, in pieces of any size. A body is
// chunked, has a length, or lasts until the connection ends (RFC 9112, 6.3).
type decoder struct {
	part   bodyPart
	status int
	left   int64  // of the body or of the chunk
	line   []byte // the unfinished head or line
}

type bodyPart uint8

const (
	inHead bodyPart = iota
	inUnbounded
	inLength
	inChunkSize
	inChunk
	inChunkEnd // the line end that follows a chunk
	inTrailer
	inEnd
)

// next takes a first part of b and returns what of it is body, and the rest.
// The caller goes on until there is no rest. body is valid until b changes.
func (d *decoder) next(b []byte) (body, rest []byte, err error) {
	switch d.part {
	case inHead:
		rest, err = d.head(b)
		return nil, rest, err
	case inUnbounded:
		return b, nil, nil
	case inLength, inChunk:
		n := min(int64(len(b)), d.left)
		d.left -= n
		switch {
		case d.left > 0:
		case d.part == inChunk:
			d.part = inChunkEnd
		default:
			d.part = inEnd
		}
		return b[:n], b[n:], nil
	case inEnd:
		return nil, nil, errEnded
	}
	line, rest, ok := d.takeLine(b)
	if !ok {
		return nil, nil, d.tooLong()
	}
	switch d.part {
	case inChunkSize:
		size, _, _ := strings.Cut(line, ";") // chunk extensions mean nothing to us
		if d.left, err = strconv.ParseInt(strings.TrimSpace(size), 16, 63); err != nil || d.left < 0 {
			return nil, nil, fmt.Errorf("size of a chunk: %q", line)
		}
		d.part = inChunk
		if d.left == 0 {
			d.part = inTrailer
		}
	case inChunkEnd:
		if line != "" {
			return nil, nil, fmt.Errorf("after a chunk: %q", line)
		}
		d.part = inChunkSize
	case inTrailer:
		if line == "" {
			d.part = inEnd
		}
	}
	return nil, rest, nil
}

// takeLine completes the unfinished line by b, if b has its end.
func (d *decoder) takeLine(b []byte) (line string, rest []byte, ok bool) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		d.line = append(d.line, b...)
		return "", nil, false
	}
	d.line = append(d.line, b[:end]...)
	line = strings.TrimSuffix(string(d.line), "\r")
	d.line = d.line[:0]
	return line, b[end+1:], true
}

func (d *decoder) tooLong() error {
	if len(d.line) > maxHead {
		return fmt.Errorf("a head or line of more than %d bytes", maxHead)
	}
	return nil
}

var headEnd = []byte("\r\n\r\n")

// head collects bytes until the head is whole.
func (d *decoder) head(b []byte) (rest []byte, err error) {
	had := len(d.line)
	d.line = append(d.line, b...)
	// The end may lie across what was there and what came.
	from := max(had-len(headEnd)+1, 0)
	at := bytes.Index(d.line[from:], headEnd)
	if at < 0 {
		return nil, d.tooLong()
	}
	whole := from + at + len(headEnd)
	err = d.readHead(string(d.line[:whole-len(headEnd)]))
	d.line = nil // as large as no line will be
	return b[whole-had:], err
}

func (d *decoder) readHead(head string) error {
	status, fields, _ := strings.Cut(head, "\r\n")
	version, code, _ := strings.Cut(status, " ")
	code, _, _ = strings.Cut(code, " ")
	var err error
	if d.status, err = strconv.Atoi(code); err != nil || !strings.HasPrefix(version, "HTTP/1.") {
		return fmt.Errorf("no HTTP/1.1 response: %q", status)
	}
	d.part = inUnbounded
	for field := range strings.SplitSeq(fields, "\r\n") {
		name, value, _ := strings.Cut(field, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "transfer-encoding":
			if strings.EqualFold(value, "chunked") {
				d.part = inChunkSize
				return nil // and a length is to be ignored
			}
		case "content-length":
			if d.left, err = strconv.ParseInt(value, 10, 63); err != nil || d.left < 0 {
				return fmt.Errorf("content-length: %q", value)
			}
			d.part = inLength
			if d.left == 0 {
				d.part = inEnd
			}
		}
	}
	return nil
}
