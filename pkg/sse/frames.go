package sse

import (
	"encoding/json"
	"time"

	"realtime-gateway/pkg/channels"
)

// The gateway's own event names. Publishers cannot use them.
const (
	EventOpen      = channels.ReservedPrefix + "open"
	EventGap       = channels.ReservedPrefix + "gap"
	EventClose     = channels.ReservedPrefix + "close"
	EventError     = channels.ReservedPrefix + "error"
	EventHeartbeat = channels.ReservedPrefix + "heartbeat"
)

// CloseReason says why the gateway ends a stream or does not begin one.
type CloseReason string

// The close reasons, a closed set.
const (
	CloseDraining     CloseReason = "draining"      // this replica is going away
	CloseUnavailable  CloseReason = "unavailable"   // Redis cannot be reached
	CloseFull         CloseReason = "full"          // this replica has as many connections as it may
	CloseLimit        CloseReason = "limit"         // this user or address has as much as it may
	CloseMaxAge       CloseReason = "max_age"       // it has lasted long enough: another replica may have more room
	CloseTokenExpired CloseReason = "token_expired" // the token's exp has come
	CloseRevoked      CloseReason = "revoked"       // the right to read was taken back; coming back is of no use
	CloseSlow         CloseReason = "slow"          // the connection lagged further than onFull: disconnect allows
)

// Gap is the data of a gateway.gap event, and an element of a poll's gaps.
type Gap struct {
	Channel string             `json:"channel"`
	Reason  channels.GapReason `json:"reason"`
	From    string             `json:"from"`
	To      string             `json:"to"`
	Count   int64              `json:"count,omitempty"`
}

// GapOf returns the wire form of a gap.
func GapOf(g *channels.Gap) Gap {
	return Gap{Channel: g.Channel, Reason: g.Reason, From: g.From.String(), To: g.To.String(), Count: g.Count}
}

type open struct {
	Connection string             `json:"connection"`
	Replica    string             `json:"replica,omitempty"`
	Channels   map[string]*string `json:"channels"` // the position each starts after; null without history
	Heartbeat  int64              `json:"heartbeat"`
}

type closing struct {
	Reason    string `json:"reason"`
	Reconnect bool   `json:"reconnect"`
	Retry     int64  `json:"retry"`
	Limit     string `json:"limit,omitempty"` // which one, with CloseLimit
}

// appendOpen appends gateway.open; its id is already a cursor.
func appendOpen(dst []byte, sub *channels.Subscriber, o open, retry time.Duration) []byte {
	o.Channels = make(map[string]*string, sub.Len())
	for i := range sub.Len() {
		if sub.Dropped(i) {
			continue
		}
		var at *string
		if p, history := sub.Started(i); history {
			s := p.String()
			at = &s
		}
		o.Channels[sub.Channel(i)] = at
	}
	return Message{ID: string(sub.AppendCursor(nil)), Event: EventOpen, Data: object(o), Retry: retry}.Append(dst)
}

// appendDelivery appends one event or gap, and moves the subscriber's cursor
// past it.
func appendDelivery(dst []byte, sub *channels.Subscriber, d *channels.Delivery) []byte {
	sub.Advance(d)
	switch {
	case d.Gap != nil:
		return Message{ID: string(sub.AppendCursor(nil)), Event: EventGap, Data: object(GapOf(d.Gap))}.Append(dst)
	case sub.Shared():
		return append(dst, d.Entry.Encoded.Frame...)
	}
	dst = append(dst, "id: "...)
	dst = sub.AppendCursor(dst)
	dst = append(dst, '\n')
	return append(dst, d.Entry.Encoded.Frame[d.Entry.Encoded.Body:]...)
}

// appendClose appends gateway.close. It carries no id, so the cursor stays.
// text, if not empty, stands in for the reason.
func appendClose(dst []byte, reason CloseReason, text string, retry time.Duration) []byte {
	if text == "" {
		text = string(reason)
	}
	return appendClosing(dst, closing{Reason: text, Reconnect: reason != CloseRevoked}, retry)
}

// appendLimited is appendClose for who is refused by a limit of this name.
func appendLimited(dst []byte, limit string, retry time.Duration) []byte {
	return appendClosing(dst, closing{Reason: string(CloseLimit), Reconnect: true, Limit: limit}, retry)
}

func appendClosing(dst []byte, c closing, retry time.Duration) []byte {
	c.Retry = retry.Milliseconds()
	return Message{Event: EventClose, Data: object(c), Retry: retry}.Append(dst)
}

// refusal is the data of a gateway.error event.
type refusal struct {
	Channel string `json:"channel"`
	Reason  string `json:"reason"`
}

// appendError appends gateway.error. It carries no id, so the cursor stays.
func appendError(dst []byte, channel, reason string) []byte {
	if reason == "" {
		reason = string(CloseRevoked)
	}
	return Message{Event: EventError, Data: object(refusal{channel, reason})}.Append(dst)
}

func appendHeartbeat(dst []byte, asEvent bool) []byte {
	if asEvent {
		return Message{Event: EventHeartbeat, Data: "{}"}.Append(dst)
	}
	return appendComment(dst)
}

func object(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs of strings and numbers
	}
	return string(b)
}
