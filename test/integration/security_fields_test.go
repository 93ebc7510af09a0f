package integration_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// forgeries are payloads that would be fields or events of their own, if a
// stream repeated them as they are.
var forgeries = []string{
	"x\n\nevent: gateway.close\ndata: {\"reason\":\"forged\",\"reconnect\":false}\n\n",
	"x\r\rid: 1forged\revent: gateway.close\rdata: {}\r\r",
	"x\r\n\r\nid: 1forged\r\nevent: gateway.open\r\ndata: {}\r\n\r\n",
	"\nid: 1forged\n\n", "\nid\n\n", "id: 1forged", "data: forged", "event: gateway.gap\ndata: {}\n\n",
	"\nretry: 1\n\n", "\rretry: 999999999\r\r", ": comment\n:\n\n", "\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", "\n\r", "",
	"x\u2028event: gateway.close\u2028data: {}\u2028\u2028", "x\u2029\u2029id: 1forged", "x\u0085\u0085event: gateway.close", "x\v\f\x1c\x1d\x1eid: 1forged",
	"x\x00\n\x00id: 1forged", "id: \x00", "\x00", "\ufeffdata: forged\n\n", "\ufeff", "\x1b[2J", "\\n\\nevent: gateway.close\\n", "</script><script>",
	`{"type":"gateway.close","reason":"forged","reconnect":false}`,
	`{"type":"gateway.close\u0000"}`, `{"type":"gateway.open\n"}`, `{"type":"\ngateway.close"}`, `{"type":"x\nevent: gateway.close"}`,
	`{"type":"x\rid: 1forged"}`, `{"type":"x\u000aid: 1forged\u000a\u000a"}`, `{"type":"\u0067ateway.close"}`, `{"type":"gateway."}`, `{"type":""}`,
	`{"type":"x","type":"gateway.close"}`, `{"type":"gateway.close","type":"x"}`, `{"Type":"gateway.close"}`,
	`{"type":"x","channel":"project:other:tasks"}`, `{"channel":"a","type":"x","channel":"b"}`, `{"type":"x","\u0063hannel":"other"}`, `{"type":"x","channel":{"a":"b"}}`,
	`{"type":"x","id":"1forged","lastEventId":"1forged","retry":1,"event":"gateway.close"}`,
	`{"type":"x","event_id":"a\nid: 1forged","timestamp":"\r\rid: 1forged"}`,
	"{\"type\":\"x\",\n\nid: 1forged\n\n\"a\":1}", "{\n\n\"type\":\"x\"\r\r,\"a\":\"b\"\r\n\r\n}", "[1,\n\nid: 1forged\n\n2]", "[\r\r\"x\"\r\r]",
	`{"type":"` + strings.Repeat("x", 300) + `"}`, `{"type":"x` + "\u2028" + `event: gateway.close"}`, `{"type":" gateway.close"}`, `{"type":":gateway.close"}`,
}

// Whatever is published, by whichever way, subscribers get exactly one event
// for it, with a cursor of the gateway's own, and nothing of the gateway's
// speech.
func TestSecurityForgedFields(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"auto", "goroutine"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{replicas: 1, flags: []string{"--stream-path", path}})
			base := f.url(0)
			service := bearer(harness.Token{Sub: "service", Publish: []string{"**"}}.Sign())
			ways := map[string]func(ch, payload string){
				"FCALL":   func(ch, payload string) { fcall(t, f, ch, payload) },
				"PUBLISH": func(ch, payload string) { publish(t, f, ch, payload) },
				"POST": func(ch, payload string) {
					if a := knock(t, http.MethodPost, of(base, ch), service, payload); a.status != http.StatusOK {
						t.Errorf("POST %.60q: status %d: %s", payload, a.status, a.body)
					}
				},
			}
			for way, send := range ways {
				for _, family := range []string{"hist", "live"} {
					t.Run(way+" "+family, func(t *testing.T) { wantOneEach(t, base, channel(family), family == "hist", send) })
				}
			}
		})
	}
}

func wantOneEach(t *testing.T, base, ch string, history bool, send func(ch, payload string)) {
	t.Helper()
	bystander := channel("hist")
	s := open(t, base, on(ch, bystander))
	beginning := s.Now().Cursor
	for i, payload := range forgeries {
		send(ch, payload)
		waitCount(t, s, ch, i+1)
	}
	v := s.Now()
	wantOnlyPublished(t, v, ch, len(forgeries))
	wantFraming(t, s.Raw.String())
	stillOpen(t, s)

	cursors := map[string]bool{}
	for i, e := range v.Events {
		if e.ID == "" || strings.Contains(e.ID, "forged") || history && cursors[e.ID] {
			t.Errorf("after %.60q the cursor is %q", append([]string{"gateway.open"}, forgeries...)[i], e.ID)
		}
		cursors[e.ID] = true
	}
	if !history {
		return
	}
	// The same from the replay, from any of the cursors, and as JSON.
	again := open(t, base, harness.Subscribe{Channels: []string{ch}, From: beginning})
	waitCount(t, again, ch, len(forgeries))
	wantOnlyPublished(t, again.Now(), ch, len(forgeries))
	wantFraming(t, again.Raw.String())
	middle := open(t, base, harness.Subscribe{Channels: []string{ch}, From: v.Events[len(forgeries)/2].ID})
	waitCount(t, middle, ch, len(forgeries)-len(forgeries)/2)
	wantOnlyPublished(t, middle.Now(), ch, len(forgeries)-len(forgeries)/2)
	page := readPoll(t, knock(t, http.MethodGet, of(base, ch), nil, ""))
	if len(page.Events) != len(forgeries) || len(page.Gaps) > 0 {
		t.Errorf("the history has %d events and gaps %s, want %d and none", len(page.Events), page.Gaps, len(forgeries))
	}
	for i, e := range page.Events {
		if live := v.Published(ch)[i]; !equalJSON(t, live.Data, string(e)) {
			t.Errorf("the stream said %s, the history says %s", live.Data, e)
		}
	}
}

// wantOnlyPublished checks that a stream is gateway.open and n events of the
// channel, which its data names once.
func wantOnlyPublished(t *testing.T, v harness.View, ch string, n int) {
	t.Helper()
	if len(v.Events) != n+1 || v.Events[0].Name != "gateway.open" || len(v.Published(ch)) != n {
		t.Fatalf("want gateway.open and %d events: %s", n, v)
	}
	for _, e := range v.Published(ch) {
		if e.Own() || e.Channel != ch || e.Type != e.Name || names(t, e.Data)["channel"] != 1 || strings.Contains(e.Data, "\n") {
			t.Errorf("an event %q as %s", e.Name, e.Data)
		}
	}
}

// wantFraming checks the bytes of a stream: only lines that the gateway
// writes, ended by line feeds, whatever another parser takes for a line's end.
func wantFraming(t *testing.T, raw string) {
	t.Helper()
	if i := strings.IndexAny(raw, "\r\x00"); i >= 0 {
		t.Errorf("the stream has a byte %#x: %.100q", raw[i], raw[max(0, i-50):])
	}
	for line := range strings.SplitSeq(raw, "\n") {
		name, _, _ := strings.Cut(line, ": ")
		switch name {
		case "id", "event", "data", "retry", "", ":":
		default:
			t.Errorf("the stream has the line %.100q", line)
		}
	}
}

// Options of a publisher are labels: what could be more is refused, and
// nothing is published.
func TestSecurityForgedLabels(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	service := bearer(harness.Token{Sub: "service", Publish: []string{"**"}}.Sign())
	for _, label := range []string{
		"x\n", "\nx", "x\r", "x\r\nevent: gateway.close", "x\n\nevent: gateway.close\ndata: {}\n\n", "x\x00", "\x1bx", "x\x7f", "\xff", "x\xc0\x8a",
		"", strings.Repeat("x", 256),
	} {
		for _, option := range []string{"TYPE", "EVENTID"} {
			if position, err := tryFcall(f, ch, "forged", option, label); err == nil {
				t.Errorf("%s %.40q was accepted, at %s", option, label, position)
			}
		}
		if label == "" {
			continue // in a query it counts as none
		}
		for _, name := range []string{"type", "eventId"} {
			wantProblem(t, knock(t, http.MethodPost, of(f.url(0), ch)+"?"+url.Values{name: {label}}.Encode(), service, "forged"), http.StatusBadRequest)
		}
	}
	for _, reserved := range []string{"gateway.close", "gateway.open", "gateway."} {
		if position, err := tryFcall(f, ch, "forged", "TYPE", reserved); err == nil {
			t.Errorf("TYPE %s was accepted, at %s", reserved, position)
		}
		wantProblem(t, knock(t, http.MethodPost, of(f.url(0), ch)+"?type="+reserved, service, "forged"), http.StatusBadRequest)
	}
	for _, ttl := range []string{"0", "-1", "1\n", "1e3", "0x10", "99999999999999999999", "NaN", ""} {
		if position, err := tryFcall(f, ch, "forged", "TTL", ttl); err == nil {
			t.Errorf("TTL %q was accepted, at %s", ttl, position)
		}
	}
	for _, options := range [][]any{{"TYPE"}, {"TYPE", "a", "TYPE", "b"}, {"NOSUCH", "x"}, {"CHANNEL", "other"}} {
		if position, err := tryFcall(f, ch, "forged", options...); err == nil {
			t.Errorf("options %q were accepted, at %s", options, position)
		}
	}
	for _, key := range []string{ch, "gw:", "gw:gw:x", "gw.x", "gw:" + ch + "\nx", "gw:hist::x", "gw:hist:*", "gw:unknown:x", "other:" + ch, "gw:" + strings.Repeat("x", 300)} {
		if position, err := f.db().FCall(t.Context(), "gateway_publish", []string{key}, "forged").Text(); err == nil {
			t.Errorf("key %.40q was accepted, at %s", key, position)
		}
	}
	count(t, f, ch, 1, 1)
	waitNumber(t, s, ch, 1)
	wantNumbers(t, s.Now().Of(ch), 1, 1)
	wantFraming(t, s.Raw.String())
}
