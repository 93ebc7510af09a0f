package redisbus

import (
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/channels"
)

// announcementVersion begins every announcement of gateway.lua.
const announcementVersion = "1"

var errAnnouncement = errors.New("unreadable announcement")

// parseAnnouncement reads what gateway.lua announces: a line of version,
// position, predecessor ("-" without history), TTL in ms and the lengths of
// event id and type, then these two and the payload; or that events were lost.
func parseAnnouncement(text string) (channels.Event, error) {
	head, body, ok := strings.Cut(text, "\n")
	if !ok {
		return channels.Event{}, errAnnouncement
	}
	if loss, ok := strings.CutPrefix(head, "lost "); ok {
		return parseLoss(strings.Split(loss, " "))
	}
	var f [6]string
	for i := range f {
		var more bool
		f[i], head, more = strings.Cut(head, " ")
		if more != (i < len(f)-1) {
			return channels.Event{}, errAnnouncement
		}
	}
	if f[0] != announcementVersion {
		return channels.Event{}, errAnnouncement
	}
	var e channels.Event
	var err error
	if e.Position, err = channels.ParsePosition(f[1]); err != nil {
		return channels.Event{}, errAnnouncement
	}
	if f[2] != "-" {
		if e.Prev, err = channels.ParsePosition(f[2]); err != nil || !e.Prev.Less(e.Position) {
			return channels.Event{}, errAnnouncement
		}
	}
	idLen, err1 := strconv.ParseUint(f[4], 10, 16)
	typeLen, err2 := strconv.ParseUint(f[5], 10, 16)
	if err1 != nil || err2 != nil || idLen+typeLen > uint64(len(body)) || !parseTTL(f[3], &e.TTL) {
		return channels.Event{}, errAnnouncement
	}
	e.EventID, body = body[:idLen], body[idLen:]
	e.Type, e.Payload = body[:typeLen], body[typeLen:]
	return e, nil
}

// hintMark begins what gateway.lua publishes under a channel's bare name for a
// publisher that may not announce. It is no UTF-8, and so no payload.
const hintMark = "\xffgateway "

// parseHint reads where an event lies that has to be announced.
func parseHint(text string) (channels.Position, bool) {
	at, ok := strings.CutPrefix(text, hintMark+"at ")
	if !ok {
		return channels.Position{}, false
	}
	position, err := channels.ParsePosition(at)
	return position, err == nil
}

// parseHintedEvent reads an event of a channel without history. Anybody may have
// written it who may publish payloads there, so it is an event and nothing else,
// and holds what a payload could or a publisher is allowed to say.
func parseHintedEvent(text string) (channels.Event, error) {
	text, ok := strings.CutPrefix(text, hintMark+"event ")
	if !ok {
		return channels.Event{}, errAnnouncement
	}
	e, err := parseAnnouncement(text)
	if err != nil || e.Lost != nil || !e.Prev.IsZero() ||
		e.EventID != "" && !channels.ValidEventID(e.EventID) || e.Type != "" && !channels.ValidType(e.Type) {
		return channels.Event{}, errAnnouncement
	}
	return e, nil
}

// parseAnnounced reads that an event has been announced for its publisher.
func parseAnnounced(text string) (channel string, position channels.Position, ok bool) {
	f := strings.SplitN(text, " ", 3)
	if len(f) != 3 || f[0] != "announced" {
		return "", position, false
	}
	position, err := channels.ParsePosition(f[1])
	return f[2], position, err == nil
}

// parseLoss reads the record of a loss: its position and predecessor, the last
// position lost and the last that was not.
func parseLoss(f []string) (channels.Event, error) {
	e := channels.Event{Lost: &channels.Loss{}}
	into := []*channels.Position{&e.Position, &e.Prev, &e.Lost.Upto, &e.Lost.After}
	if len(f) != len(into) {
		return channels.Event{}, errAnnouncement
	}
	for i, p := range into {
		var err error
		if *p, err = channels.ParsePosition(f[i]); err != nil {
			return channels.Event{}, errAnnouncement
		}
	}
	return e, nil
}

// parseTTL reads milliseconds; gateway.lua allows up to fifteen digits, which
// a time.Duration cannot hold: that is longer than anything lives.
func parseTTL(text string, ttl *time.Duration) bool {
	ms, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return false
	}
	*ttl = time.Duration(min(ms, uint64(channels.MaxDuration/time.Millisecond))) * time.Millisecond
	return true
}

// parseEntry reads an entry of a stream, as gateway.lua writes it. ok is false
// for entries that are none of its own.
func parseEntry(m redis.XMessage) (e channels.Event, recorder string, ok bool) {
	var err error
	if e.Position, err = channels.ParsePosition(m.ID); err != nil {
		return e, "", false
	}
	prev, _ := m.Values["p"].(string)
	if e.Prev, err = channels.ParsePosition(prev); err != nil || !e.Prev.Less(e.Position) {
		return channels.Event{Position: e.Position}, "", false
	}
	if e.Payload, ok = m.Values["d"].(string); !ok {
		upto, _ := m.Values["l"].(string)
		after, _ := m.Values["f"].(string)
		loss, err := parseLoss([]string{m.ID, prev, upto, after})
		if err != nil {
			return e, "", false
		}
		return loss, "", true
	}
	e.EventID, _ = m.Values["e"].(string)
	e.Type, _ = m.Values["t"].(string)
	// Who may publish by gateway_publish may also append by hand.
	if e.EventID != "" && !channels.ValidEventID(e.EventID) || e.Type != "" && !channels.ValidType(e.Type) || !utf8.ValidString(e.Payload) {
		return channels.Event{Position: e.Position}, "", false
	}
	if ttl, has := m.Values["x"].(string); has && !parseTTL(ttl, &e.TTL) {
		return e, "", false
	}
	recorder, _ = m.Values["r"].(string)
	return e, recorder, true
}
