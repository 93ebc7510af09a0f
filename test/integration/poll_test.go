package integration_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// polled is the answer of mode=poll.
type polled struct {
	Events []json.RawMessage
	Gaps   []json.RawMessage
	Cursor string
}

func (p polled) numbers(t *testing.T) []harness.Event {
	t.Helper()
	var out []harness.Event
	for _, raw := range p.Events {
		e := harness.Event{Data: string(raw)}
		if err := json.Unmarshal(raw, &e.Fields); err != nil {
			t.Fatal(err)
		}
		e.Name = e.Type
		out = append(out, e)
	}
	return out
}

func readPoll(t *testing.T, a answer) polled {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if ct := a.header.Get("Content-Type"); ct != "application/json" && ct != "application/json; charset=utf-8" && ct != "application/json; charset=UTF-8" {
		t.Errorf("Content-Type %q, want application/json", ct)
	}
	var p polled
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	if p.Cursor == "" {
		t.Fatalf("no cursor: %s", a.body)
	}
	return p
}

func TestPoll(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch, quiet := channel("hist"), channel("hist")
	s := open(t, f.url(0), on(ch, quiet))
	cursor := s.Now().Cursor
	s.Close()
	count(t, f, ch, 1, 3)
	poll := func(replica int, cursor string) string {
		return events(f.url(replica), url.Values{"channel": {ch, quiet}, "mode": {"poll"}, "lastEventId": {cursor}})
	}
	// A poll answers as soon as it has something, which may not be all.
	var gaps []json.RawMessage
	gather := func(cursor string, last int, ask func(cursor string) polled) (next string, got []harness.Event) {
		for len(got) == 0 || got[len(got)-1].N < last {
			p := ask(cursor)
			cursor, got, gaps = p.Cursor, append(got, p.numbers(t)...), append(gaps, p.Gaps...)
		}
		return cursor, got
	}
	// A stream's cursor serves a poll, and what waits is answered at once.
	cursor, got := gather(cursor, 3, func(cursor string) polled { return readPoll(t, ask(t, http.MethodGet, poll(0, cursor), "", "")) })
	wantNumbers(t, got, 1, 3)

	// Nothing waits: the answer comes when something does.
	type result struct {
		a   answer
		err error
	}
	answered := make(chan result, 1)
	go func() {
		a, err := tryAsk(context.Background(), http.MethodGet, poll(1, cursor), "", "")
		answered <- result{a, err}
	}()
	count(t, f, ch, 4, 4)
	r := <-answered
	must(t, r.err)
	second := readPoll(t, r.a)
	wantNumbers(t, second.numbers(t), 4, 4)
	count(t, f, ch, 5, 6)

	// By POST, the same.
	cursor, got = gather(second.Cursor, 6, func(cursor string) polled {
		body, err := json.Marshal(map[string]any{"channel": []string{ch, quiet}, "mode": "poll", "lastEventId": cursor})
		must(t, err)
		return readPoll(t, ask(t, http.MethodPost, f.url(0)+"/v1/events", "", string(body)))
	})
	wantNumbers(t, got, 5, 6)

	// A poll's cursor serves a stream.
	count(t, f, ch, 7, 8)
	again := open(t, f.url(1), from(cursor, ch))
	waitNumber(t, again, ch, 8)
	wantNumbers(t, again.Now().Of(ch), 7, 8)
	if gaps = append(gaps, second.Gaps...); len(gaps) > 0 {
		t.Errorf("gaps %s", gaps)
	}
}

func TestPollGap(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("few")
	cursor := away(t, f, ch, 2)
	count(t, f, ch, 3, 12)
	target := events(f.url(1), url.Values{"channel": {ch}, "mode": {"poll"}, "lastEventId": {cursor}})
	var got []harness.Event
	var gaps []json.RawMessage
	for len(got) < 5 {
		p := readPoll(t, ask(t, http.MethodGet, target, "", ""))
		got, gaps = append(got, p.numbers(t)...), append(gaps, p.Gaps...)
		target = events(f.url(0), url.Values{"channel": {ch}, "mode": {"poll"}, "lastEventId": {p.Cursor}})
	}
	wantNumbers(t, got, 8, 12)
	if len(gaps) != 1 {
		t.Fatalf("gaps %s, want one", gaps)
	}
	gap := object(t, string(gaps[0]))
	if gap["channel"] != ch || gap["reason"] == nil || gap["from"] == nil || gap["to"] == nil {
		t.Errorf("the gap lacks channel, reason, from or to: %s", gaps[0])
	}
}

// A poll nothing happens to is answered after 25 s at the latest, with a
// cursor to go on from.
func TestPollTimesOut(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	p := readPoll(t, ask(t, http.MethodGet, events(f.url(0), url.Values{"channel": {ch}, "mode": {"poll"}}), "", ""))
	if len(p.Events)+len(p.Gaps) > 0 {
		t.Errorf("events %s, gaps %s, want none", p.Events, p.Gaps)
	}
	count(t, f, ch, 1, 2)
	s := open(t, f.url(1), from(p.Cursor, ch))
	waitNumber(t, s, ch, 2)
	wantNumbers(t, s.Now().Of(ch), 1, 2)
}

func TestPollRights(t *testing.T) {
	t.Parallel()
	f := shared(t)
	for channel, status := range map[string]int{"project:1:tasks": 401, "a::b": 400} {
		wantProblem(t, ask(t, http.MethodGet, events(f.url(0), url.Values{"channel": {channel}, "mode": {"poll"}}), "", ""), status)
	}
	wantProblem(t, ask(t, http.MethodGet, events(f.url(0), url.Values{"channel": {"hist:x"}, "mode": {"pool"}}), "", ""), 400)
}
