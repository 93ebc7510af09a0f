package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"time"
)

// Action is what somebody wants to do with a channel.
type Action string

// The actions.
const (
	Subscribe Action = "subscribe" // read, live or from history
	Publish   Action = "publish"
)

// Question is what the application is asked.
type Question struct {
	// User is the token's subject. Empty means nobody, which is sent as null.
	User string
	// Channel is the channel's name.
	Channel string
	// Action is what the user wants to do with it.
	Action Action
	// Claims is the payload of the token, a JSON object, or nil without a
	// token, which is sent as null. It must not be changed any more.
	Claims json.RawMessage
	// TokenExpires is the token's exp, which no answer outlives. Zero means
	// that it has none.
	TokenExpires time.Time
}

// key stands for everything that an answer can depend on. Payloads are hashed
// because they are long, and because they need not lie around in memory.
type key [sha256.Size]byte

func (q *Question) key() key {
	h := sha256.New()
	write := func(b []byte) {
		// With its length before it, no field can pass for the end of another.
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	write([]byte(q.User))
	write([]byte(q.Channel))
	write([]byte(q.Action))
	write(q.Claims)
	if !q.TokenExpires.IsZero() {
		write(binary.BigEndian.AppendUint64(nil, uint64(q.TokenExpires.UnixNano())))
	}
	return key(h.Sum(nil))
}

// body is the question as it is sent.
func (q *Question) body() ([]byte, error) {
	var user *string
	if q.User != "" {
		user = &q.User
	}
	var claims json.RawMessage // null
	if len(q.Claims) > 0 {
		// As readers of JSON take it, of whom some would refuse the body.
		claims = bytes.ToValidUTF8(q.Claims, []byte("\uFFFD"))
	}
	return json.Marshal(struct {
		User    *string         `json:"user"`
		Channel string          `json:"channel"`
		Action  Action          `json:"action"`
		Claims  json.RawMessage `json:"claims"`
	}{user, q.Channel, q.Action, claims})
}

// final tells whether no answer can reach further than until, because the
// token does not.
func (q *Question) final(until time.Time) bool {
	return !q.TokenExpires.IsZero() && !until.Before(q.TokenExpires)
}

// end bounds until by the end of the token.
func (q *Question) end(until time.Time) time.Time {
	if q.final(until) {
		return q.TokenExpires
	}
	return until
}
