package integration_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

func TestBadSubscriptions(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	bystander := open(t, f.url(0), on(ch))
	count(t, f, ch, 1, 2)
	waitNumber(t, bystander, ch, 2)
	good := bystander.Now().Cursor

	query := func(pairs ...string) harness.Subscribe {
		q := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			q.Add(pairs[i], pairs[i+1])
		}
		return harness.Subscribe{Query: q}
	}
	var crowd []string
	for i := range 10000 {
		crowd = append(crowd, fmt.Sprintf("hist:%d", i))
	}
	for name, sub := range map[string]harness.Subscribe{
		"no channel":                query(),
		"empty channel":             query("channel", ""),
		"empty segment":             query("channel", "hist::x"),
		"empty first segment":       query("channel", ":hist"),
		"empty last segment":        query("channel", "hist:"),
		"space":                     query("channel", "hist:a b"),
		"line break":                query("channel", "hist:a\nevent: x"),
		"zero byte":                 query("channel", "hist:a\x00"),
		"umlaut":                    query("channel", "hist:ä"),
		"star":                      query("channel", "hist:*"),
		"256 bytes":                 query("channel", "hist:"+strings.Repeat("x", 251)),
		"one good, one bad":         query("channel", ch, "channel", "hist:a b"),
		"cursor of words":           query("channel", ch, "lastEventId", "nonsense"),
		"cursor of signs":           query("channel", ch, "lastEventId", "\x00\xff!"),
		"cut cursor":                query("channel", ch, "lastEventId", good[:len(good)-1]+"!"),
		"long cursor":               query("channel", ch, "lastEventId", strings.Repeat("A", 5000)),
		"cursor in the header":      {Channels: []string{ch}, From: "nonsense"},
		"lastN of words":            query("channel", ch, "lastN", "many"),
		"negative lastN":            query("channel", ch, "lastN", "-1"),
		"broken lastN":              query("channel", ch, "lastN", "1.5"),
		"maxAge of words":           query("channel", ch, "maxAge", "old"),
		"negative maxAge":           query("channel", ch, "maxAge", "-1s"),
		"unknown mode":              query("channel", ch, "mode", "push"),
		"unknown heartbeat":         query("channel", ch, "heartbeat", "loud"),
		"10000 channels":            {Body: map[string]any{"channel": crowd}},
		"body that is no object":    {Body: []string{ch}},
		"body without channels":     {Body: map[string]any{}},
		"channels that are numbers": {Body: map[string]any{"channel": []int{1}}},
		"bad channel in the body":   {Body: map[string]any{"channel": []string{"hist:a b"}}},
		"bad cursor in the body":    {Body: map[string]any{"channel": []string{ch}, "lastEventId": "nonsense"}},
		"bad lastN in the body":     {Body: map[string]any{"channel": []string{ch}, "lastN": -1}},
	} {
		t.Run(name, func(t *testing.T) {
			if sub.Channels == nil && sub.Body == nil && !sub.Query.Has("channel") {
				sub.Query = url.Values{"lastN": {"0"}}
			}
			s := connect(t, f.url(0), sub)
			wantProblem(t, answer{s.Status, s.Header, s.Problem}, http.StatusBadRequest)
			if strings.Contains(s.Problem, "\x00") || len(s.Problem) > 4096 {
				t.Errorf("the refusal repeats too much: %.200q", s.Problem)
			}
		})
	}
	for name, body := range map[string]string{
		"broken JSON": `{"channel":["` + ch + `"`, "no JSON": `channel=` + ch, "two values": `{"channel":["` + ch + `"]}{}`,
		"large body": `{"channel":["` + strings.Repeat("x", 9<<20) + `"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			a, err := tryAsk(t.Context(), http.MethodPost, f.url(0)+"/v1/events", "", body)
			if name == "large body" && (err != nil || a.status == http.StatusRequestEntityTooLarge) {
				return // a server may hang up before it has read so much
			}
			must(t, err)
			wantProblem(t, a, http.StatusBadRequest)
		})
	}
	t.Run("other methods and paths", func(t *testing.T) {
		for _, try := range []struct {
			method, path string
			status       int
		}{
			{http.MethodDelete, "/v1/events", 405}, {http.MethodPut, "/v1/events", 405},
			{http.MethodGet, "/v1/nothing", 404}, {http.MethodGet, "/v2/events", 404},
		} {
			wantProblem(t, ask(t, try.method, f.url(0)+try.path+"?channel="+ch, "", ""), try.status)
		}
	})

	// The others have noticed nothing.
	count(t, f, ch, 3, 4)
	waitNumber(t, bystander, ch, 4)
	wantNumbers(t, bystander.Now().Of(ch), 1, 4)
	stillOpen(t, bystander)
}

// A damaged cursor is refused or harmless, but never a crash or silence.
func TestDamagedCursors(t *testing.T) {
	t.Parallel()
	f := shared(t)
	a, b := channel("hist"), channel("hist")
	s := open(t, f.url(0), on(a, b))
	count(t, f, a, 1, 3)
	count(t, f, b, 1, 3)
	waitNumber(t, s, a, 3)
	waitNumber(t, s, b, 3)
	good := s.Now().Cursor
	for i := range good {
		for _, bad := range []string{good[:i], good[:i] + "A" + good[i+1:], good[:i] + good[i+1:], good + good[:i]} {
			if bad == "" || bad == good {
				continue
			}
			c := connect(t, f.url(i), harness.Subscribe{Channels: []string{a, b}, Query: url.Values{"lastEventId": {bad}}})
			if c.Status != http.StatusOK && c.Status != http.StatusBadRequest {
				t.Errorf("cursor %q: status %d: %s", bad, c.Status, c.Problem)
			}
			c.Close()
		}
	}
}
