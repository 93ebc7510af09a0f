package integration_test

import (
	"encoding/base64"
	encbinary "encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// mark is one channel's place in a cursor, written down anew here: clients can
// forge cursors, so these tests do.
type mark struct {
	channel string
	at      harness.Position
}

func forgeCursor(marks ...mark) string {
	var raw []byte
	for _, m := range marks {
		h := fnv.New64a()
		_, _ = h.Write([]byte(m.channel))
		sum := h.Sum64()
		raw = append(raw, encbinary.BigEndian.AppendUint64(nil, (sum>>48)^(sum&(1<<48-1)))[2:]...)
		raw = encbinary.AppendUvarint(raw, m.at.Millis)
		raw = encbinary.AppendUvarint(raw, m.at.Seq)
	}
	return "1" + base64.RawURLEncoding.EncodeToString(raw)
}

// A cursor is a claim that anybody can make. Whatever it claims, only its
// bearer's own story changes: nobody else hears of a gap, and nothing is
// recorded.
func TestSecurityForgedCursors(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch, quiet := channel("hist"), channel("hist")
	first := open(t, f.url(0), on(ch, quiet))
	bystanders := []*harness.Stream{first, open(t, f.url(1), on(ch, quiet))}
	count(t, f, ch, 1, 3)
	waitNumber(t, first, ch, 3)
	if got := forgeCursor(mark{quiet, harness.Position{}}); len(got) < 10 {
		t.Fatalf("cursor %q", got)
	}
	// What is forged here is what the gateway makes, or the test tests nothing.
	top := positionOf(t, first.Now().Published(ch)[2].EventID)
	only := open(t, f.url(0), on(ch))
	if own := only.Now().Cursor; own != forgeCursor(mark{ch, top}) {
		t.Fatalf("the gateway's cursor is %q, the forged one %q", own, forgeCursor(mark{ch, top}))
	}
	only.Close()

	later := func(d time.Duration) harness.Position {
		return harness.Position{Millis: top.Millis + uint64(d.Milliseconds())}
	}
	for name, at := range map[string]harness.Position{
		"beginning": {}, "first": {Seq: 1}, "long ago": {Millis: 1},
		"just behind the end": {Millis: top.Millis, Seq: top.Seq + 1}, "much behind in the same millisecond": {Millis: top.Millis, Seq: 1 << 63},
		"a second later": later(time.Second), "an hour later": later(time.Hour), "a day later": later(25 * time.Hour), "years later": later(1e5 * time.Hour),
		"the end of numbers": {Millis: 1<<64 - 1, Seq: 1<<64 - 1}, "beyond signed numbers": {Millis: 1 << 63, Seq: 1 << 63},
	} {
		for _, target := range []string{ch, quiet} {
			for i := range f.replicas {
				cursor := forgeCursor(mark{target, at})
				open(t, f.url(i), harness.Subscribe{Channels: []string{target}, From: cursor}).Close()
				if a := ask(t, http.MethodGet, of(f.url(i), target)+"?after="+cursor, "", ""); a.status != http.StatusOK {
					t.Errorf("%s: history is %d: %s", name, a.status, a.body)
				}
			}
		}
	}
	// The same mark many times, and many marks.
	var many []mark
	for i := range 1500 {
		many = append(many, mark{ch, harness.Position{Millis: uint64(i)}})
	}
	open(t, f.url(0), harness.Subscribe{Body: map[string]any{"channel": ch, "lastEventId": forgeCursor(many...)}}).Close()

	for i, s := range bystanders {
		count(t, f, ch, 4+i, 4+i)
		count(t, f, quiet, 1+i, 1+i)
		waitNumber(t, s, ch, 4+i)
		waitNumber(t, s, quiet, 1+i)
	}
	for _, s := range bystanders {
		waitNumber(t, s, ch, 5)
		waitNumber(t, s, quiet, 2)
		noGaps(t, s)
		stillOpen(t, s)
	}
	wantNumbers(t, first.Now().Of(ch), 1, 5)
	wantNumbers(t, first.Now().Of(quiet), 1, 2)
	// Who comes from an honest place hears nothing of it either.
	honest := open(t, f.url(1), harness.Subscribe{Channels: []string{ch, quiet}, From: first.Now().Events[0].ID})
	waitNumber(t, honest, ch, 5)
	waitNumber(t, honest, quiet, 2)
	noGaps(t, honest)
	for target, want := range map[string]int64{ch: 5, quiet: 2} {
		if n, err := f.db().XLen(t.Context(), "gw:"+target).Result(); err != nil || n != want {
			t.Errorf("%s has %d entries (%v), want %d", target, n, err, want)
		}
	}
}

// A cursor of other channels, or of another installation with channels of the
// same names, opens neither.
func TestSecurityForeignCursors(t *testing.T) {
	t.Parallel()
	here, there := shared(t), own(t, setup{replicas: 1})
	ch, secret := channel("hist"), "project:"+strings.ReplaceAll(channel("s"), ":", "-")+":tasks"
	all := bearer(harness.Token{Sub: "root", Subscribe: []string{"**"}}.Sign())
	stream := open(t, there.url(0), harness.Subscribe{Channels: []string{ch, secret}, Header: all})
	count(t, there, ch, 1, 3)
	count(t, there, secret, 1, 3)
	waitNumber(t, stream, ch, 3)
	waitNumber(t, stream, secret, 3)
	count(t, here, ch, 11, 13)
	count(t, here, secret, 11, 13)
	for _, e := range stream.Now().Events {
		s := open(t, here.url(0), harness.Subscribe{Channels: []string{ch}, From: e.ID})
		for _, heard := range s.Now().Events {
			if heard.Channel == secret {
				t.Errorf("the cursor brought %s", heard.Data)
			}
		}
		s.Close()
		if strings.Contains(s.Raw.String(), secret) {
			t.Errorf("a stream without rights names %s: %s", secret, s.Raw)
		}
		refused := connect(t, here.url(0), harness.Subscribe{Channels: []string{ch, secret}, From: e.ID})
		wantProblem(t, answer{refused.Status, refused.Header, refused.Problem}, http.StatusUnauthorized)
	}
	// What is published from now on comes, whatever the cursor was.
	s := open(t, here.url(1), harness.Subscribe{Channels: []string{ch}, From: stream.Now().Cursor})
	count(t, here, ch, 14, 14)
	waitNumber(t, s, ch, 14)
}

// Ten thousand cursors of random bytes, and of bytes that a cursor could have,
// are answered by what is there or by 400.
func TestSecurityRandomCursors(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	bystander := open(t, f.url(0), on(ch))
	count(t, f, ch, 1, 5)
	waitNumber(t, bystander, ch, 5)
	genuine := bystander.Now().Cursor
	client := &http.Client{Timeout: 4 * harness.Deadline, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	const workers = 8
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(2026, uint64(worker)))
			bytes := func(n int) []byte {
				b := make([]byte, n)
				for i := range b {
					b[i] = byte(random.Uint32())
				}
				return b
			}
			for i := range 10_000 / workers {
				var cursor string
				switch i % 4 {
				case 0: // anything
					cursor = string(bytes(1 + random.IntN(40)))
				case 1: // well spelt
					cursor = "1" + base64.RawURLEncoding.EncodeToString(bytes(random.IntN(60)))
				case 2: // of some version
					cursor = string(rune('0'+random.IntN(11))) + base64.RawURLEncoding.EncodeToString(bytes(random.IntN(60)))
				case 3: // a genuine one with one byte changed
					changed := []byte(genuine)
					changed[random.IntN(len(changed))] = bytes(1)[0]
					cursor = string(changed)
				}
				if err := tryCursor(client, f.url(i), ch, cursor); err != nil {
					t.Errorf("cursor %q: %v", cursor, err)
				}
				if i%50 == worker { // a stream costs more
					s, err := harness.Open(f.url(i), harness.Subscribe{Channels: []string{ch}, Query: url.Values{"lastEventId": {cursor}}})
					if err != nil || s.Status != http.StatusOK && s.Status != http.StatusBadRequest {
						t.Errorf("cursor %q: %v, %+v", cursor, err, s)
					}
					if s != nil {
						s.Close()
					}
				}
			}
		})
	}
	wg.Wait()
	count(t, f, ch, 6, 6)
	waitNumber(t, bystander, ch, 6)
	wantNumbers(t, bystander.Now().Of(ch), 1, 6)
	stillOpen(t, bystander)
}

// tryCursor reads the history of a channel that has the counted events 1 to 5.
func tryCursor(client *http.Client, base, ch, cursor string) error {
	resp, err := client.Get(of(base, ch) + "?" + url.Values{"after": {cursor}}.Encode())
	if err != nil {
		return err
	}
	a, err := readAnswer(resp)
	switch {
	case err != nil:
		return err
	case a.status == http.StatusBadRequest && strings.HasPrefix(a.header.Get("Content-Type"), "application/problem+json") && len(a.body) < 4096:
		return nil
	case a.status != http.StatusOK:
		return fmt.Errorf("status %d: %.200s", a.status, a.body)
	}
	var page polled
	unmarshal(a.body, &page)
	for i, raw := range page.Events {
		var e harness.Fields
		unmarshal(string(raw), &e)
		if want := 5 - len(page.Events) + 1 + i; e.Channel != ch || e.N != want {
			return fmt.Errorf("event %d of %d is %s", i, len(page.Events), raw)
		}
	}
	return nil
}

// What is too much, too deep or no text is refused, and nobody else notices.
func TestSecurityHostileInput(t *testing.T) {
	t.Parallel()
	f := shared(t)
	base := f.url(0)
	ch := channel("hist")
	bystander := open(t, base, on(ch))
	count(t, f, ch, 1, 1)
	waitNumber(t, bystander, ch, 1)
	mark := f.replicas[0].Log.Len()
	service := bearer(harness.Token{Sub: "service", Publish: []string{"**"}, Subscribe: []string{"**"}}.Sign())
	target := "/v1/events?channel=" + ch
	repeat := func(n int, one func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(one(i))
		}
		return b.String()
	}
	many := http.Header{}
	for i := range 1000 {
		many.Set(fmt.Sprintf("X-%d", i), "x")
	}
	post := http.Header{"Content-Type": {"application/json"}}
	for _, tt := range []struct {
		name, method, target string
		header               http.Header
		body                 string
		status               int
	}{
		{"10000 channels in a query", http.MethodGet, "/v1/events?" + repeat(10_000, func(i int) string { return fmt.Sprintf("channel=x%d&", i) }), nil, "", 431},
		{"1000 channels in a query", http.MethodGet, "/v1/events?" + repeat(1000, func(i int) string { return fmt.Sprintf("channel=hist:%d&", i) }), nil, "", 400},
		{"one channel 1000 times", http.MethodGet, "/v1/events?" + repeat(1000, func(int) string { return "channel=" + ch + "&" }), nil, "", 200},
		{"1000 parameters", http.MethodGet, target + repeat(1000, func(i int) string { return fmt.Sprintf("&p%d=%d", i, i) }), nil, "", 200},
		{"1000 cursors", http.MethodGet, target + repeat(1000, func(int) string { return "&lastEventId=1" }), nil, "", 400},
		{"1000 headers", http.MethodGet, target, many, "", 200},
		{"a header of 100 KB", http.MethodGet, target, http.Header{"X-Large": {strings.Repeat("x", 100_000)}}, "", 431},
		{"a token of 40 KB", http.MethodGet, target, bearer(strings.Repeat("x", 40_000)), "", 401},
		{"a cursor of 40 KB", http.MethodGet, target, http.Header{"Last-Event-Id": {"1" + strings.Repeat("A", 40_000)}}, "", 400},
		{"a path of 40 KB", http.MethodGet, "/v1/channels/" + strings.Repeat("x", 40_000) + "/events", nil, "", 400},

		{"channel not UTF-8", http.MethodGet, "/v1/events?channel=hist:%ff%fe", nil, "", 400},
		{"channel overlong", http.MethodGet, "/v1/events?channel=hist:%c0%af", nil, "", 400},
		{"parameter's name not UTF-8", http.MethodGet, target + "&%ff=1", nil, "", 200},
		{"cursor not UTF-8", http.MethodGet, target, http.Header{"Last-Event-Id": {"\xff\xfe"}}, "", 400},
		{"token not UTF-8", http.MethodGet, target, bearer("\xff\xfe"), "", 401},
		{"half an escape", http.MethodGet, target + "&lastN=%4", nil, "", 400},
		{"semicolons", http.MethodGet, target + ";lastN=1", nil, "", 400},
		{"channel in the path not UTF-8", http.MethodGet, "/v1/channels/hist:%ff/events", nil, "", 400},
		{"dots in the path", http.MethodGet, "/v1/channels/..%2f..%2fmetrics/events", nil, "", 403},
		{"line break in the path", http.MethodGet, "/v1/channels/hist:%0d%0ax/events", nil, "", 400},
		{"body not UTF-8", http.MethodPost, "/v1/events", post, "{\"channel\":\"hist:\xff\"}", 400},
		{"body of UTF-16", http.MethodPost, "/v1/events", post, "\xff\xfe{\x00}\x00", 400},
		{"body with a byte order mark", http.MethodPost, "/v1/events", post, "\ufeff" + `{"channel":"` + ch + `"}`, 400},
		{"payload not UTF-8", http.MethodPost, "/v1/channels/" + ch + "/events", service, "\xff", 400},

		{"body deeply nested", http.MethodPost, "/v1/events", post, `{"channel":` + strings.Repeat("[", 100_000), 400},
		{"body deeply nested in an object", http.MethodPost, "/v1/events", post, strings.Repeat(`{"channel":`, 20_000), 400},
		{"body nested and closed", http.MethodPost, "/v1/events", post, `{"channel":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, 400},
		{"body of 1 MB", http.MethodPost, "/v1/events", post, `{"channel":"` + strings.Repeat("x", 1<<20) + `"}`, 413},
		{"body of 250 KB of spaces", http.MethodPost, "/v1/events", post, strings.Repeat(" ", 250_000) + `{"channel":"` + ch + `"}`, 200},
		{"unknown field", http.MethodPost, "/v1/events", post, `{"channel":"` + ch + `","__proto__":{}}`, 400},
		{"huge lastN", http.MethodPost, "/v1/events", post, `{"channel":"` + ch + `","lastN":1e999}`, 400},
		{"lastN with a million digits", http.MethodPost, "/v1/events", post, `{"channel":"` + ch + `","lastN":` + strings.Repeat("9", 100_000) + `}`, 400},
		{"lastN beyond 64 bits", http.MethodGet, target + "&lastN=99999999999999999999", nil, "", 400},
		{"largest lastN", http.MethodGet, target + "&lastN=9223372036854775807", nil, "", 200},
		{"huge maxAge", http.MethodGet, target + "&maxAge=9999999999999h", nil, "", 400},
		{"maxAge beyond 31 bits", http.MethodGet, target + "&maxAge=9999999999", nil, "", 400},
		{"maxAge that is no number", http.MethodGet, target + "&maxAge=NaN", nil, "", 400},
		{"huge limit", http.MethodGet, "/v1/channels/" + ch + "/events?limit=9223372036854775807", nil, "", 400},
		{"huge ttl", http.MethodPost, "/v1/channels/" + ch + "/events?ttl=9223372036854775807", service, "x", 400},
		{"position beyond 64 bits", http.MethodGet, "/v1/channels/" + ch + "/events?after=99999999999999999999-0", nil, "", 400},
		{"largest position", http.MethodGet, "/v1/channels/" + ch + "/events?after=18446744073709551615-18446744073709551615", nil, "", 200},
		// Rights are asked for what is subscribed to.
		{"two channels of a name in a body", http.MethodPost, "/v1/events", post, `{"channel":"` + ch + `","channel":"` + coveted + `"}`, 401},
		{"the same in capitals", http.MethodPost, "/v1/events", post, `{"channel":"` + ch + `","CHANNEL":"` + coveted + `"}`, 401},
		{"channel and channels", http.MethodPost, "/v1/events", post, `{"channel":"` + ch + `","channels":["` + coveted + `"]}`, 401},
		{"channel in body and query", http.MethodPost, "/v1/events?channel=" + coveted, post, `{"channel":"` + ch + `"}`, 200},
		{"a method by header", http.MethodGet, "/v1/channels/" + ch + "/events", http.Header{"X-Http-Method-Override": {"POST"}}, "", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := knock(t, tt.method, base+tt.target, tt.header, tt.body)
			if a.status != tt.status {
				t.Fatalf("status %d, want %d: %.300s", a.status, tt.status, a.body)
			}
			// The HTTP server itself refuses headers beyond its limit.
			if tt.status >= 400 && tt.status != http.StatusRequestHeaderFieldsTooLarge {
				wantProblem(t, a, tt.status)
				if len(a.body) > 4096 {
					t.Errorf("the refusal has %d bytes: %.100s…", len(a.body), a.body)
				}
			}
		})
	}

	// As payloads, deep and large numbers are but text.
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	for i, payload := range []string{
		deep, strings.Repeat(`{"type":"x","data":`, 10_000) + "1" + strings.Repeat("}", 10_000), `{"type":"x","n":` + strings.Repeat("9", 100_000) + `}`, `{"type":"x","n":1e999999}`,
		"{" + repeat(10_000, func(i int) string { return `"type":"x",` }) + `"type":"y"}`,
	} {
		if a := knock(t, http.MethodPost, of(base, ch), service, payload); a.status != http.StatusOK {
			t.Errorf("payload %.30s…: status %d: %s", payload, a.status, a.body)
			continue
		}
		e := waitCount(t, bystander, ch, i+2)[i+1]
		if e.Channel != ch || e.Name != e.Type {
			t.Errorf("payload %.30s… arrived as %q: %.100s", payload, e.Name, e.Data)
		}
	}
	noGaps(t, bystander)
	stillOpen(t, bystander)
	if log := f.replicas[0].Log.Since(mark); strings.Contains(log, "failed unexpectedly") {
		t.Errorf("a handler panicked:\n%.3000s", log)
	}
}
