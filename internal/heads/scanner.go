package heads

import (
	"bytes"
	"math"
	"strconv"
)

// maxLine is how much of a line is kept: enough for the names that matter, and
// for the length of a body.
const maxLine = 64

// scanner follows the requests of one connection. The zero value waits for the
// first.
type scanner struct {
	blind   bool  // there is nothing more to look at, for good
	refused bool  // for good, too
	body    int64 // bytes of a body that are to come

	// Of the line that is being read.
	line   [maxLine]byte
	length int // all of it, also what is not kept
	cr     bool
	last   [8]byte // the end of the request line: the version

	// Of the head that is being read.
	inside         bool // the request line is complete
	http10         bool
	sized, encoded bool
	declared       int64
}

// scan takes the next bytes, and returns how many of them come before what is
// ambiguous: all, if all is well.
func (s *scanner) scan(p []byte) int {
	for i := 0; i < len(p) && !s.blind; i++ {
		if s.body > 0 {
			n := min(s.body, int64(len(p)-i))
			s.body -= n
			i += int(n) - 1
			continue
		}
		if s.refused = s.refused || !s.take(p[i]); s.refused {
			return i
		}
	}
	return len(p)
}

// take takes the next byte of a head, and reports whether all is well.
func (s *scanner) take(b byte) bool {
	switch {
	case b == '\n':
		ok := s.cr && s.endLine()
		s.length, s.cr = 0, false
		return ok
	case s.cr: // CR alone
		return false
	case b == '\r':
		s.cr = true
		return true
	case s.inside && s.length == 0 && (b == ' ' || b == '\t'):
		return false // RFC 9112, section 5.2: folding is obsolete
	}
	if s.length < maxLine {
		s.line[s.length] = b
	}
	s.length++
	if !s.inside {
		copy(s.last[:], s.last[1:])
		s.last[len(s.last)-1] = b
	}
	return true
}

// endLine judges a line that is complete.
func (s *scanner) endLine() bool {
	switch {
	case !s.inside && s.length == 0:
		return true // between requests: the server decides
	case !s.inside:
		s.inside, s.http10 = true, string(s.last[:]) == "HTTP/1.0"
		return true
	case s.length == 0:
		return s.endHead()
	}
	name, value, _ := bytes.Cut(s.line[:min(s.length, maxLine)], []byte(":"))
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		n, err := strconv.ParseInt(string(bytes.Trim(value, " \t")), 10, 64)
		// Once, and whole.
		if s.sized || err != nil || n < 0 || n == math.MaxInt64 || s.length > maxLine {
			return false
		}
		s.sized, s.declared = true, n
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		s.encoded = true
	}
	return true
}

// endHead judges a head that is complete.
func (s *scanner) endHead() bool {
	if s.encoded && (s.sized || s.http10) {
		return false
	}
	s.blind, s.body = s.encoded, s.declared
	s.inside, s.http10, s.sized, s.encoded, s.declared = false, false, false, false, 0
	return true
}
