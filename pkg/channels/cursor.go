package channels

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
)

// Cursor is a connection's exact position in every channel it has read, as
// the client carries it from one connection to the next, to any replica. It
// grants nothing: rights are checked anew on each connection. The zero Cursor
// knows no channel.
//
// Its text is "1" and, in base64url, for each channel a hash of the name and
// the position; so a channel added or removed between two connections leaves
// the others exact. To clients it is opaque, but for web/client/src/positions.ts, which
// reads this version of it.
type Cursor struct {
	marks   []Mark
	foreign bool
}

// Mark is one channel's position in a cursor.
type Mark struct {
	Hash     uint64 // see HashName
	Position Position
}

const (
	cursorVersion = '1'
	// hashBytes is how much of a name's hash a cursor carries: 48 bits let two
	// of 200 channels collide once in 10 billion connections.
	hashBytes = 6
	// MaxCursorLen is the length in bytes of the longest cursor that is read.
	// Proxies cut request headers at 8 KiB.
	MaxCursorLen = 32 << 10
)

var cursorText = base64.RawURLEncoding.Strict()

// ErrCursor is wrapped by every error of ParseCursor.
var ErrCursor = errors.New("malformed cursor")

// HashName returns the 48-bit hash by which cursors know a channel: FNV-1a of
// 64 bits, xor-folded (draft-eastlake-fnv, section 3).
func HashName(channel string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(channel))
	sum := h.Sum64()
	return (sum >> 48) ^ (sum & (1<<48 - 1))
}

// AppendCursor appends the text of the cursor with these marks to dst.
func AppendCursor(dst []byte, marks []Mark) []byte {
	var room [512]byte
	raw := room[:0]
	for _, m := range marks {
		var hash [8]byte
		binary.BigEndian.PutUint64(hash[:], m.Hash)
		raw = append(raw, hash[8-hashBytes:]...)
		raw = binary.AppendUvarint(raw, m.Position.Millis)
		raw = binary.AppendUvarint(raw, m.Position.Seq)
	}
	dst = append(dst, cursorVersion)
	return cursorText.AppendEncode(dst, raw)
}

// ParseCursor reads a cursor's text; the empty text is the zero Cursor. A
// well-formed cursor of a version that this replica does not know is read as
// foreign, not refused: a browser would give up for ever.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	if len(text) > MaxCursorLen {
		return Cursor{}, fmt.Errorf("%w: it has %d bytes, allowed are %d", ErrCursor, len(text), MaxCursorLen)
	}
	raw, err := cursorText.DecodeString(text[1:])
	// The decoder skips line ends.
	if text[0] < '1' || text[0] > '9' || err != nil || strings.ContainsAny(text, "\r\n") {
		return Cursor{}, fmt.Errorf("%w: send back the id of the last event unchanged", ErrCursor)
	}
	if text[0] != cursorVersion {
		return Cursor{foreign: true}, nil
	}
	var c Cursor
	for len(raw) > 0 {
		var m Mark
		if len(raw) < hashBytes {
			return Cursor{}, fmt.Errorf("%w: it is cut short", ErrCursor)
		}
		var hash [8]byte
		copy(hash[8-hashBytes:], raw)
		m.Hash = binary.BigEndian.Uint64(hash[:])
		raw = raw[hashBytes:]
		for _, part := range []*uint64{&m.Position.Millis, &m.Position.Seq} {
			v, n := binary.Uvarint(raw)
			if n <= 0 {
				return Cursor{}, fmt.Errorf("%w: it is cut short", ErrCursor)
			}
			*part, raw = v, raw[n:]
		}
		c.marks = append(c.marks, m)
	}
	return c, nil
}

// Foreign tells whether the cursor was made by another version of the gateway
// and says nothing that this one can read.
func (c Cursor) Foreign() bool { return c.foreign }

// Position returns the channel's position, and whether the cursor knows it.
func (c Cursor) Position(channel string) (Position, bool) {
	if len(c.marks) == 0 {
		return Position{}, false
	}
	hash := HashName(channel)
	for _, m := range c.marks {
		if m.Hash == hash {
			return m.Position, true
		}
	}
	return Position{}, false
}
