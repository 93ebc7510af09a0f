package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"realtime-gateway/pkg/channels"
)

// params is what a client asks of /v1/events, in a query or a body.
type params struct {
	channels   []string
	cursor     channels.Cursor
	lastN      *int
	maxAge     *time.Duration
	heartbeats bool // as events
	poll       bool
}

// maxBody bounds the JSON body of a subscription: 200 channels of 255 bytes
// and a cursor for them fit many times.
const maxBody = 256 << 10

// text is what params are read from: the same names in query and body.
type text struct {
	channels                               []string
	lastEventID, lastN, maxAge, beat, mode string
}

func (a *api) params(r *http.Request) (*params, error) {
	var t text
	var err error
	if r.Method == http.MethodPost {
		t, err = fromBody(r)
	} else {
		t, err = fromQuery(r)
	}
	if err != nil {
		return nil, err
	}
	// A browser that reconnects repeats its URL: what it has seen since is in
	// the header.
	if header := r.Header.Get("Last-Event-ID"); header != "" {
		t.lastEventID = header
	}
	return a.parse(t)
}

// noBody refuses a body where none has a meaning. What is not read of it must
// not be taken for another request.
func noBody(r *http.Request) error {
	if r.Method != http.MethodPost && r.ContentLength != 0 {
		return malformed(r.Method + " takes no body: use POST, or the query")
	}
	return nil
}

func fromQuery(r *http.Request) (text, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return text{}, malformed("the query is malformed: " + err.Error())
	}
	if err := misspelt(q, "channel", "lastEventId", "lastN", "maxAge", "heartbeat", "mode", "token"); err != nil {
		return text{}, err
	}
	t := text{channels: q["channel"]}
	for name, to := range map[string]*string{
		"lastEventId": &t.lastEventID, "lastN": &t.lastN, "maxAge": &t.maxAge, "heartbeat": &t.beat, "mode": &t.mode,
	} {
		if len(q[name]) > 1 {
			return text{}, malformed("the parameter " + name + " is given more than once")
		}
		*to = q.Get(name)
	}
	return t, nil
}

// misspelt refuses a parameter that differs from one of names in case, hyphens
// or a letter at the end only: ignoring a lasteventid would lose events without
// a word. Others are ignored, as caches and proxies add some of their own.
func misspelt(q url.Values, names ...string) error {
	for given := range q {
		if slices.Contains(names, given) {
			continue
		}
		folded := unhyphened.Replace(given)
		for _, name := range names {
			if strings.EqualFold(folded, name) || strings.EqualFold(folded, name+"s") {
				return malformed("there is no parameter " + quote(given) + ", did you mean " + name + "?")
			}
		}
	}
	return nil
}

var unhyphened = strings.NewReplacer("-", "", "_", "")

func fromBody(r *http.Request) (text, error) {
	var body struct {
		Channel     oneOrMore    `json:"channel"`
		Channels    []string     `json:"channels"`
		LastEventID string       `json:"lastEventId"`
		LastN       json.Number  `json:"lastN"`
		MaxAge      numberOrText `json:"maxAge"`
		Heartbeat   string       `json:"heartbeat"`
		Mode        string       `json:"mode"`
		Token       string       `json:"token"` // read by nobody: a token belongs into a header
	}
	limited := &io.LimitedReader{R: r.Body, N: maxBody + 1}
	tooLong := func() error {
		return problem(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes", maxBody))
	}
	d := json.NewDecoder(limited)
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		if limited.N <= 0 {
			return text{}, tooLong()
		}
		return text{}, malformed("the body must be a JSON object such as {\"channel\":[\"a\",\"b\"],\"lastEventId\":\"…\"}: " + jsonReason(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return text{}, malformed("the body must be one JSON object and nothing behind it")
	}
	if limited.N <= 0 { // a stream must not begin while a part of the body is unread
		return text{}, tooLong()
	}
	if body.Token != "" {
		return text{}, malformed("a token is not read from the body: send Authorization: Bearer")
	}
	return text{
		channels: append(body.Channel, body.Channels...), lastEventID: body.LastEventID,
		lastN: body.LastN.String(), maxAge: string(body.MaxAge), beat: body.Heartbeat, mode: body.Mode,
	}, nil
}

// oneOrMore is a JSON string or a list of them.
type oneOrMore []string

// UnmarshalJSON implements json.Unmarshaler.
func (o *oneOrMore) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o))
}

// numberOrText is a JSON number or string, as text.
type numberOrText string

// UnmarshalJSON implements json.Unmarshaler.
func (t *numberOrText) UnmarshalJSON(b []byte) error {
	var n json.Number
	if json.Unmarshal(b, &n) == nil {
		*t = numberOrText(n)
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

func jsonReason(err error) string {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		return fmt.Sprintf("%s cannot be a JSON %s", wrongType.Field, wrongType.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

func (a *api) parse(t text) (*params, error) {
	p := &params{}
	seen := make(map[string]bool, min(len(t.channels), a.MaxChannels))
	for _, name := range t.channels {
		if seen[name] {
			continue
		}
		seen[name] = true
		if len(seen) > a.MaxChannels {
			return nil, a.tooMany()
		}
		if err := channels.CheckName(name); err != nil {
			return nil, malformed(err.Error())
		}
		p.channels = append(p.channels, name)
	}
	if len(p.channels) == 0 && len(a.AutoSubscribe) == 0 {
		return nil, malformed("no channel is named: add ?channel=NAME, several times for several channels")
	}
	var err error
	if p.cursor, err = channels.ParseCursor(t.lastEventID); err != nil {
		return nil, malformed("lastEventId: " + err.Error())
	}
	if t.lastN != "" {
		n, err := strconv.Atoi(t.lastN)
		if err != nil || n < 0 {
			return nil, malformed("lastN is " + quote(t.lastN) + ", allowed is a whole number from 0")
		}
		p.lastN = &n
	}
	if t.maxAge != "" {
		d, err := parseAge(t.maxAge)
		if err != nil {
			return nil, err
		}
		p.maxAge = &d
	}
	switch t.beat {
	case "", "comment":
	case "event":
		p.heartbeats = true
	default:
		return nil, malformed("heartbeat is " + quote(t.beat) + ", allowed are comment and event")
	}
	switch t.mode {
	case "", "stream":
	case "poll":
		p.poll = true
	default:
		return nil, malformed("mode is " + quote(t.mode) + ", allowed are stream and poll")
	}
	return p, nil
}

// parseAge reads a duration such as 90s or 10m; a bare number is seconds.
func parseAge(s string) (time.Duration, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, malformed("maxAge is " + quote(s) + ", allowed is a duration from 0 such as 30s or 10m")
	}
	return d, nil
}

// start says where a channel begins: at the cursor's position, or, where the
// client has none, with as much of the past as it wants and the policy allows.
func (p *params) start(channel string, policy *channels.Policy) channels.Start {
	if p.cursor.Foreign() {
		return channels.Start{Unreadable: true}
	}
	if at, ok := p.cursor.Position(channel); ok {
		return channels.Start{Resume: &at}
	}
	if policy.LastN == 0 && policy.MaxAge == 0 {
		return channels.Start{}
	}
	s := channels.Start{LastN: policy.LastN, MaxAge: policy.MaxAge}
	if s.LastN == 0 {
		s.LastN = -1 // as many as MaxAge allows
	}
	if n := p.lastN; n != nil && (s.LastN < 0 || *n < s.LastN) {
		s.LastN = min(*n, channels.MaxLastN)
	}
	if d := p.maxAge; d != nil {
		if *d == 0 {
			return channels.Start{}
		}
		if s.MaxAge == 0 || *d < s.MaxAge {
			s.MaxAge = *d
		}
	}
	return s
}
