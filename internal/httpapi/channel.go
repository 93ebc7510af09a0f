package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"realtime-gateway/internal/auth"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
	"realtime-gateway/pkg/sse"
)

// channelPath takes /v1/channels/<channel>/events apart. The channel may hold
// slashes, written as they are or percent-encoded.
func channelPath(r *http.Request) (string, error) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/v1/channels/")
	name, isEvents := strings.CutSuffix(rest, "/events")
	if !ok || !isEvents || name == "" {
		return "", problem(http.StatusNotFound, "the path is /v1/channels/<channel>/events")
	}
	name, err := url.PathUnescape(name)
	if err != nil {
		return "", malformed("the channel in the path is badly percent-encoded")
	}
	return name, nil
}

// channelAndClaims reads which channel a request is about, and whose it is, who
// must not ask more often than these rates allow.
func (a *api) channelAndClaims(c echo.Context, limits *rates) (string, *auth.Claims, error) {
	channel, err := channelPath(c.Request())
	if err != nil {
		return "", nil, err
	}
	if err := a.allowAddress(c, limits); err != nil {
		return "", nil, err
	}
	claims, err := a.identify(c.Request())
	if err != nil {
		return "", nil, err
	}
	return channel, claims, a.allowUser(c, claims, limits)
}

// historyAnswer is a page of a channel's history.
type historyAnswer struct {
	Channel string            `json:"channel"`
	Events  []json.RawMessage `json:"events"`
	Gaps    []sse.Gap         `json:"gaps"`
	Cursor  string            `json:"cursor"` // for after, and for lastEventId
	More    bool              `json:"more"`
}

const (
	defaultLimit = 100
	maxLimit     = 1000
	// historyTimeout is how long a read waits for Redis.
	historyTimeout = 5 * time.Second
)

// history serves GET /v1/channels/<channel>/events?after=…&limit=….
func (a *api) history(c echo.Context) error {
	r := c.Request()
	channel, claims, err := a.channelAndClaims(c, &a.limits.subscribe)
	if err != nil {
		return err
	}
	if err := a.mayRead(r.Context(), claims, channel); err != nil {
		return err
	}
	q := r.URL.Query()
	if err := misspelt(q, "after", "limit", "token"); err != nil {
		return err
	}
	limit := defaultLimit
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxLimit {
			return malformed("limit is " + quote(text) + ", allowed is a whole number from 1 to " + strconv.Itoa(maxLimit))
		}
	}
	after, err := parseAfter(q.Get("after"), channel)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), historyTimeout)
	defer cancel()
	page, err := a.Hub.History(ctx, channel, after, limit)
	if err != nil {
		return err
	}
	// Behind the reading: an event that was published after the right was taken
	// back may be in the page.
	if err := a.stillHas(r.Context(), claims, channel); err != nil {
		return err
	}
	describe(ctx, keyChannel.String(channel), keyCount.Int(len(page.Entries)))
	answer := historyAnswer{
		Channel: channel, Events: []json.RawMessage{}, Gaps: []sse.Gap{},
		Cursor: sse.NewCursor(channel, page.Last), More: page.More,
	}
	for _, e := range page.Entries {
		if e.Gap != nil {
			answer.Gaps = append(answer.Gaps, sse.GapOf(e.Gap))
		} else {
			answer.Events = append(answer.Events, e.Encoded.JSON())
		}
	}
	return answerJSON(c, answer)
}

// parseAfter reads a position, a cursor, or nothing. 0-0 is the beginning,
// whatever the stream still keeps.
func parseAfter(text, channel string) (*channels.Position, error) {
	if text == "" {
		return nil, nil
	}
	if p, err := channels.ParsePosition(text); err == nil {
		if p.IsZero() {
			return nil, nil
		}
		return &p, nil
	}
	cursor, err := channels.ParseCursor(text)
	if err != nil {
		return nil, malformed("after is neither a position such as 1700000000000-0 nor a cursor: " + err.Error())
	}
	if p, ok := cursor.Position(channel); ok && !p.IsZero() {
		return &p, nil
	}
	return nil, nil
}

// publish serves POST /v1/channels/<channel>/events: the body is the payload.
func (a *api) publish(c echo.Context) error {
	r := c.Request()
	channel, claims, err := a.channelAndClaims(c, &a.limits.publish)
	if err != nil {
		return err
	}
	// Redis, and the application, are asked.
	err = a.unhurried(r, func() error { return a.mayPublish(r.Context(), claims, channel) })
	if err != nil {
		return err
	}
	q := r.URL.Query()
	if err := misspelt(q, "eventId", "type", "ttl", "token"); err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, int64(a.MaxPayload)))
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return problem(http.StatusRequestEntityTooLarge, "the payload is longer than "+strconv.Itoa(a.MaxPayload)+" bytes")
	}
	if err != nil {
		return malformed("the body could not be read")
	}
	m := redisbus.Message{Channel: channel, Payload: carrying(r.Context(), string(body), a.MaxPayload), EventID: q.Get("eventId"), Type: q.Get("type")}
	if text := q.Get("ttl"); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms < 1 || ms > channels.MaxDuration.Milliseconds() {
			return malformed("ttl is " + quote(text) + ", allowed is a number of milliseconds from 1")
		}
		m.TTL = time.Duration(ms) * time.Millisecond
	}
	position, err := a.Publisher.Publish(r.Context(), m)
	if err != nil {
		return err
	}
	describe(r.Context(), keyChannel.String(channel), keyPosition.String(position.String()))
	return answerJSON(c, map[string]string{"channel": channel, "position": position.String()})
}

func answerJSON(c echo.Context, v any) error {
	h := c.Response().Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	enc := json.NewEncoder(c.Response())
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
