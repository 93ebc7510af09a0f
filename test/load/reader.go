package load

import "bytes"

// reader makes events of one response's bytes. An event counts when its empty
// line has come and not before: a client that is cut within one forgets it, and
// gets it again (WHATWG HTML 9.2.6).
type reader struct {
	decoder
	partial []byte // the unfinished line

	// Of the unfinished event:
	id     []byte
	marker Marker
	marked bool
	gap    bool
	closes bool

	// farewell is what the server said before it ended the response, if it did.
	farewell string

	lastID []byte // of the last whole event that had one
}

// sink gets what a reader has read.
type sink interface {
	event(Marker)
	gap() // the server says that events are missing
}

// again prepares for the next response of the same stream: only the last id
// outlives a connection.
func (r *reader) again() { *r = reader{lastID: r.lastID, id: r.id[:0], partial: r.partial[:0]} }

// feed reads the next bytes of the response. It returns errEnded after the last.
func (r *reader) feed(b []byte, to sink) error {
	for {
		body, rest, err := r.next(b)
		if len(body) > 0 && r.status == 200 {
			r.lines(body, to)
		}
		if err != nil {
			return err
		}
		if b = rest; len(b) == 0 {
			if r.part == inEnd {
				return errEnded
			}
			return nil
		}
	}
}

func (r *reader) lines(b []byte, to sink) {
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			r.partial = append(r.partial, b...)
			return
		}
		line := b[:end]
		if b = b[end+1:]; len(r.partial) > 0 {
			r.partial = append(r.partial, line...)
			line = r.partial
		}
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		r.readLine(line, to)
		r.partial = r.partial[:0]
	}
	if cap(r.partial) > 4<<10 {
		r.partial = nil // thousands of streams, each had one long line
	}
}

var (
	fieldID   = []byte("id:")
	fieldData = []byte("data:")
	gapEvent  = []byte("event: gateway.gap")
	endEvent  = []byte("event: gateway.close")
)

func (r *reader) readLine(line []byte, to sink) {
	switch {
	case len(line) == 0:
		r.dispatch(to)
	case bytes.HasPrefix(line, fieldData):
		if m, ok := findMarker(line); ok {
			r.marker, r.marked = m, true
		}
		if r.closes {
			r.farewell = string(line[len(fieldData):])
		}
	case bytes.HasPrefix(line, fieldID):
		r.id = append(r.id[:0], bytes.TrimPrefix(line[len(fieldID):], []byte(" "))...)
	case bytes.Equal(line, gapEvent):
		r.gap = true
	case bytes.Equal(line, endEvent):
		r.closes = true
	}
}

func (r *reader) dispatch(to sink) {
	if len(r.id) > 0 {
		r.lastID = append(r.lastID[:0], r.id...)
		r.id = r.id[:0]
	}
	if r.gap {
		r.gap = false
		to.gap()
	}
	if r.marked {
		r.marked = false
		to.event(r.marker)
	}
}
