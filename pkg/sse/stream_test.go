package sse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"realtime-gateway/pkg/channels"
)

// closeOf reads a gateway.close, and checks that its two retries agree and are
// within bounds.
func closeOf(t *testing.T, f frame) closing {
	t.Helper()
	var c closing
	if err := json.Unmarshal([]byte(f.data), &c); err != nil || f.event != EventClose {
		t.Fatalf("got %+v, want a gateway.close", f)
	}
	if d := time.Duration(c.Retry) * time.Millisecond; d != f.retry || d < minRetry || d > maxRetry {
		t.Errorf("retry is %v in the field and %v in the data, want the same within %v and %v", f.retry, d, minRetry, maxRetry)
	}
	return c
}

func wantClose(t *testing.T, f frame, reason CloseReason) {
	t.Helper()
	if c := closeOf(t, f); c.Reason != string(reason) || !c.Reconnect {
		t.Errorf("closed with %+v, want %s and a reconnect", c, reason)
	}
}

// wantData compares the data members of the events that are not the gateway's.
func wantData(t *testing.T, frames []frame, want ...string) {
	t.Helper()
	var got []string
	for _, f := range frames {
		if f.comment || strings.HasPrefix(f.event, channels.ReservedPrefix) {
			continue
		}
		var e struct{ Data string }
		if err := json.Unmarshal([]byte(f.data), &e); err != nil {
			t.Fatalf("data %q: %v", f.data, err)
		}
		got = append(got, e.Data)
	}
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("events are %q, want %q", got, want)
	}
}

func TestStreamOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		at := f.broker.publish("orders", "before")
		s := f.stream(session(t, "", "orders", "status:x"), newSink())
		if s.status != 200 || s.Header().Get("Content-Type") != "text/event-stream; charset=utf-8" || !strings.Contains(s.Header().Get("Cache-Control"), "no-store") {
			t.Errorf("answered %d %v", s.status, s.Header())
		}
		frames := s.frames()
		if len(frames) != 1 || frames[0].event != EventOpen {
			t.Fatalf("a new stream says %+v, want one gateway.open", frames)
		}
		if got := frames[0].retry; got < minRetry || got > maxRetry {
			t.Errorf("retry is %v", got)
		}
		var o map[string]any
		if err := json.Unmarshal([]byte(frames[0].data), &o); err != nil {
			t.Fatal(err)
		}
		if id, _ := o["connection"].(string); len(id) < 16 {
			t.Errorf("connection is %v", o["connection"])
		}
		delete(o, "connection")
		want := map[string]any{"replica": "r1", "heartbeat": 20000.0, "channels": map[string]any{"orders": at.String(), "status:x": nil}}
		if !reflect.DeepEqual(o, want) {
			t.Errorf("open is %v, want %v", o, want)
		}
		if got := NewCursor("orders", at); frames[0].id != got {
			t.Errorf("id is %q, want the cursor %q", frames[0].id, got)
		}
		f.broker.publish("orders", "live")
		f.broker.publish("status:x", "up")
		synctest.Wait()
		wantData(t, s.frames(), "live", "up")
		s.leave()
		s.wantEnded(t)
		if reason := <-f.closed; reason != endedByClient {
			t.Errorf("closed because of %q, want the client", reason)
		}
		if n := f.handler.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestStreamRefusesUnknownChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		s := f.stream(session(t, "", "a::b"), newSink())
		s.wantEnded(t)
		var name *channels.NameError
		if !errors.As(s.err, &name) || s.String() != "" || s.status != 0 {
			t.Errorf("answered %d %q, error %v; want nothing written and a NameError", s.status, s, s.err)
		}
	})
}

// Each event's id is the exact position in every channel: whoever resumes
// there gets all that followed, and nothing before.
func TestMultiChannelCursorIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		names := []string{"a", "status:s", "b", "c"}
		s := f.stream(session(t, "", names...), newSink())
		at := make(map[string]channels.Position)
		var payloads []string
		var positions []map[string]channels.Position
		for i := range 20 {
			name := names[i*7%4]
			payload := fmt.Sprintf("%s %d", name, i)
			p := f.broker.publish(name, payload)
			if name != "status:s" {
				at[name] = p
			}
			snapshot := make(map[string]channels.Position)
			for k, v := range at {
				snapshot[k] = v
			}
			payloads, positions = append(payloads, payload), append(positions, snapshot)
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		frames := s.frames()
		wantData(t, frames, payloads...)
		for i, want := range positions {
			cursor, err := channels.ParseCursor(frames[i+1].id)
			if err != nil {
				t.Fatal(err)
			}
			for name, p := range want {
				if got, ok := cursor.Position(name); !ok || got != p {
					t.Errorf("after %q the cursor has %s at %v, want %v", payloads[i], name, got, p)
				}
			}
			if _, ok := cursor.Position("status:s"); ok {
				t.Error("the cursor knows a channel without history")
			}
			var rest []string
			for _, p := range payloads[i+1:] {
				if !strings.HasPrefix(p, "status:s") {
					rest = append(rest, p)
				}
			}
			again := f.stream(session(t, frames[i+1].id, names...), newSink())
			got := again.frames()
			if len(got)-1 != len(rest) {
				t.Errorf("resuming after %q gives %d events, want %d", payloads[i], len(got)-1, len(rest))
			}
			// One channel's order is kept; channels are read in turn.
			for _, name := range names {
				var of []string
				for _, p := range rest {
					if strings.HasPrefix(p, name+" ") {
						of = append(of, p)
					}
				}
				var part []frame
				for _, g := range got {
					if strings.Contains(g.data, `"channel":"`+name+`"`) {
						part = append(part, g)
					}
				}
				wantData(t, part, of...)
			}
			again.leave()
		}
	})
}

func TestStreamTellsGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		first := f.broker.publish("orders", "1")
		lost := f.broker.publish("orders", "2")
		f.broker.publish("orders", "3")
		f.broker.set(func() { f.broker.streams["orders"] = f.broker.streams["orders"][2:] })
		s := f.stream(session(t, NewCursor("orders", first), "orders"), newSink())
		frames := s.frames()
		if len(frames) != 3 || frames[1].event != EventGap {
			t.Fatalf("got %+v, want open, gap, event", frames)
		}
		if want := fmt.Sprintf(`{"channel":"orders","reason":"trimmed","from":"%v","to":"%v"}`, first, lost); frames[1].data != want {
			t.Errorf("gap is %s, want %s", frames[1].data, want)
		}
		if want := NewCursor("orders", lost); frames[1].id != want {
			t.Errorf("the gap's id is %q, want %q: a client must not be told twice", frames[1].id, want)
		}
		wantData(t, frames, "3")
	})
}

func TestSlowStreamIsDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		w := newSink()
		s := f.stream(session(t, "", "strict:a"), w)
		blocked := make(chan struct{})
		w.flush = func() error { <-blocked; return nil }
		for range 10 {
			f.broker.publish("strict:a", "x")
		}
		synctest.Wait()
		close(blocked)
		s.wantEnded(t)
		frames := s.frames()
		wantClose(t, frames[len(frames)-1], CloseSlow)
	})
}

func TestStreamWaitsForHistoryThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		at := f.broker.publish("orders", "1")
		f.broker.publish("orders", "2")
		f.broker.set(func() { f.broker.err = errRefused })
		s := f.stream(session(t, NewCursor("orders", at), "orders"), newSink())
		frames := s.frames()
		if len(frames) != 1 || frames[0].event != EventOpen || frames[0].id != NewCursor("orders", at) {
			t.Fatalf("got %+v, want only a gateway.open at the cursor", frames)
		}
		f.broker.set(func() { f.broker.err = nil })
		time.Sleep(time.Minute)
		s.wantOpen(t)
		wantData(t, s.frames(), "2")
	})
}

func TestStreamIsRefusedForNow(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reason CloseReason
		set    func(*fixture)
		within time.Duration
	}{
		{"redis is away", CloseUnavailable, func(f *fixture) { f.broker.down = true }, 0},
		{"draining", CloseDraining, func(f *fixture) { f.handler.Drain(context.Background(), time.Second) }, 0},
		{"channels are not confirmed in time", CloseUnavailable, func(f *fixture) { f.broker.held = true }, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				tt.set(f)
				s := f.stream(session(t, "", "orders"), newSink())
				if tt.within > 0 {
					s.wantOpen(t)
					time.Sleep(tt.within)
				}
				s.wantEnded(t)
				frames := s.frames()
				if s.status != 200 || len(frames) != 1 || s.err != nil {
					t.Fatalf("answered %d %+v, %v; want a 200 stream with one event", s.status, frames, s.err)
				}
				wantClose(t, frames[0], tt.reason)
				if got := <-f.refused; got != tt.reason {
					t.Errorf("hook was told %q", got)
				}
				if strings.Contains(s.String(), "id:") {
					t.Error("a refusal moves the client's cursor")
				}
			})
		})
	}
}
