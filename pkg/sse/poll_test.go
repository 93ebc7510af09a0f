package sse

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"realtime-gateway/pkg/channels"
)

// polled is what came of a poll.
type polled struct {
	answer Answer
	reason CloseReason
	err    error
	took   time.Duration
	w      *httptest.ResponseRecorder
}

func (f *fixture) poll(ctx context.Context, s Session) <-chan polled {
	done := make(chan polled, 1)
	begin := time.Now()
	go func() {
		p := polled{w: httptest.NewRecorder()}
		p.reason, p.err = f.handler.Poll(p.w, httptest.NewRequest("POST", "/", nil).WithContext(ctx), s)
		p.took = time.Since(begin)
		json.Unmarshal(p.w.Body.Bytes(), &p.answer)
		done <- p
	}()
	synctest.Wait()
	return done
}

func (p polled) want(t *testing.T, took time.Duration, types ...string) {
	t.Helper()
	if p.reason != "" || p.err != nil || p.w.Code != 200 || p.w.Header().Get("Content-Type") != "application/json; charset=utf-8" || p.w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("answered %d %v, reason %q, error %v", p.w.Code, p.w.Header(), p.reason, p.err)
	}
	if p.took != took {
		t.Errorf("took %v, want %v", p.took, took)
	}
	var got []string
	for _, e := range p.answer.Events {
		var event struct{ Type string }
		json.Unmarshal(e, &event)
		got = append(got, event.Type)
	}
	if strings.Join(got, " ") != strings.Join(types, " ") {
		t.Errorf("events are %q, want %q", got, types)
	}
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		at := f.broker.publish("orders", `{"type":"one"}`)
		two := f.broker.publish("orders", `{"type":"two","html":"<&>"}`)

		p := <-f.poll(t.Context(), session(t, NewCursor("orders", at), "orders"))
		p.want(t, 0, "two")
		if p.answer.Cursor != NewCursor("orders", two) {
			t.Errorf("cursor is %q, want %q", p.answer.Cursor, NewCursor("orders", two))
		}
		if want := `"html":"<&>"`; !strings.Contains(p.w.Body.String(), want) {
			t.Errorf("events are not as on a stream: %s", p.w.Body)
		}

		waiting := f.poll(t.Context(), session(t, p.answer.Cursor, "orders"))
		time.Sleep(7 * time.Second)
		f.broker.publish("orders", `{"type":"three"}`)
		p = <-waiting
		p.want(t, 7*time.Second, "three")

		p = <-f.poll(t.Context(), session(t, p.answer.Cursor, "orders", "status:x"))
		p.want(t, 25*time.Second)
		for _, empty := range []string{`"events":[]`, `"gaps":[]`} {
			if !strings.Contains(p.w.Body.String(), empty) {
				t.Errorf("answer %s is without %s", p.w.Body, empty)
			}
		}
		if n := f.handler.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestPollTellsGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		from := f.broker.publish("orders", `{"type":"one"}`)
		to := f.broker.publish("orders", `{"type":"two"}`)
		last := f.broker.publish("orders", `{"type":"three"}`)
		f.broker.set(func() { f.broker.streams["orders"] = f.broker.streams["orders"][2:] })
		p := <-f.poll(t.Context(), session(t, NewCursor("orders", from), "orders"))
		p.want(t, 0, "three")
		want := Gap{Channel: "orders", Reason: channels.GapTrimmed, From: from.String(), To: to.String()}
		if len(p.answer.Gaps) != 1 || p.answer.Gaps[0] != want {
			t.Errorf("gaps are %+v, want %+v", p.answer.Gaps, want)
		}
		if p.answer.Cursor != NewCursor("orders", last) {
			t.Errorf("cursor is not behind the last event")
		}
	})
}

func TestPollOfManyIsAnsweredInPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		cursor := NewCursor("orders", f.broker.publish("orders", "first"))
		for range 1000 {
			f.broker.publish("orders", "x")
		}
		total := 0
		for range 20 {
			p := <-f.poll(t.Context(), session(t, cursor, "orders"))
			total += len(p.answer.Events)
			cursor = p.answer.Cursor
			if total >= 1000 {
				break
			}
		}
		if total != 1000 {
			t.Errorf("got %d events, want 1000", total)
		}
	})
}

func TestPollEndsWithItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		request := session(t, "", "orders")
		request.Expires = time.Now().Add(10 * time.Second)
		waiting := f.poll(t.Context(), request)
		time.Sleep(10 * time.Second)
		f.broker.publish("orders", "late")
		p := <-waiting
		p.want(t, 10*time.Second)
	})
}

func TestPollIsRefusedForNow(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reason CloseReason
		before func(*fixture)
		during func(*fixture)
	}{
		{"redis is away", CloseUnavailable, func(f *fixture) { f.broker.down = true }, nil},
		{"channels are not confirmed", CloseUnavailable, func(f *fixture) { f.broker.held = true }, func(*fixture) { time.Sleep(5 * time.Second) }},
		{"draining", CloseDraining, func(f *fixture) { f.handler.Drain(context.Background(), 0) }, nil},
		{"drained meanwhile", CloseDraining, func(*fixture) {}, func(f *fixture) { f.handler.Drain(context.Background(), 0) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				tt.before(f)
				waiting := f.poll(t.Context(), session(t, "", "orders"))
				if tt.during != nil {
					tt.during(f)
				}
				p := <-waiting
				if p.reason != tt.reason || p.err != nil || p.w.Body.Len() > 0 {
					t.Errorf("got %q, %v and %q, want %q and nothing written", p.reason, p.err, p.w.Body, tt.reason)
				}
			})
		})
	}
}

func TestPollOfUnknownChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		p := <-f.poll(t.Context(), session(t, "", "a::b"))
		var name *channels.NameError
		if !errors.As(p.err, &name) || p.w.Body.Len() > 0 {
			t.Errorf("got %v and %q", p.err, p.w.Body)
		}
	})
}

func TestPollEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		ctx, cancel := context.WithCancel(context.Background())
		waiting := f.poll(ctx, session(t, "", "orders"))
		cancel()
		if p := <-waiting; p.took != 0 || p.reason != "" || p.err != nil {
			t.Errorf("ended with %+v", p)
		}
	})
}

// deadlines remembers what was asked of a ResponseWriter.
type deadlines struct {
	*httptest.ResponseRecorder
	at time.Time
}

func (d *deadlines) SetWriteDeadline(at time.Time) error { d.at = at; return nil }

var _ http.ResponseWriter = (*deadlines)(nil)

// A client that takes its answer too slowly must not hold it for ever.
func TestPollWritesUnderADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		at := f.broker.publish("orders", "1")
		f.broker.publish("orders", "2")
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		if _, err := f.handler.Poll(w, httptest.NewRequest("POST", "/", nil), session(t, NewCursor("orders", at), "orders")); err != nil {
			t.Fatal(err)
		}
		if want := time.Now().Add(10 * time.Second); !w.at.Equal(want) {
			t.Errorf("write deadline is %v, want %v", w.at, want)
		}
	})
}
