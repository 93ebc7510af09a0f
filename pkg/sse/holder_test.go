package sse

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"realtime-gateway/pkg/channels"
)

// held has every stream from now on be of one holder of its own, and returns
// them as they come.
func (f *fixture) held() <-chan *Holder {
	holders := make(chan *Holder, 1000)
	f.asking(func(s *Session) {
		s.Holder = &Holder{User: "alice"}
		holders <- s.Holder
	})
	return holders
}

func wantRevoked(t *testing.T, f frame, reason string) {
	t.Helper()
	if c := closeOf(t, f); c.Reason != reason || c.Reconnect {
		t.Errorf("closed with %+v, want %s and no reconnect", c, reason)
	}
}

func wantError(t *testing.T, f frame, channel, reason string) {
	t.Helper()
	var r refusal
	if err := json.Unmarshal([]byte(f.data), &r); err != nil || f.event != EventError || r != (refusal{channel, reason}) {
		t.Errorf("got %+v, want a gateway.error for %s with the reason %s", f, channel, reason)
	}
}

func pattern(t *testing.T, source string) channels.Pattern {
	t.Helper()
	p, err := channels.ParsePattern(source)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What is published after a right was taken back reaches nobody who lost it,
// however busy the channel is.
func TestPathEndsWhenRevoked(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path)
		holders := f.held()
		const streams, before, after = 30, 200, 100
		var callers []*caller
		var list []*Holder
		for i := range streams {
			names := []string{"a"}
			if i%3 == 0 {
				names = []string{"a", "b"}
			}
			c := f.dial("", names...)
			c.want(EventOpen)
			callers, list = append(callers, c), append(list, <-holders)
		}
		stays := f.dial("", "a")
		stays.want(EventOpen)
		<-holders
		var readers sync.WaitGroup
		for _, c := range callers {
			readers.Go(func() {
				for n := 1; ; n++ {
					e := c.next()
					if e.event == EventClose {
						wantRevoked(t, e, "signed out")
						c.wantEnd()
						return
					}
					if n > before || !strings.Contains(e.data, fmt.Sprintf(`"n":%d}`, n)) {
						t.Errorf("got %+v as number %d, of which %d were before the revocation", e, n, before)
						return
					}
				}
			})
		}
		f.count("a", 1, before)
		for _, h := range list {
			h.End(CloseRevoked, "signed out")
		}
		f.count("a", before+1, before+after)
		readers.Wait()
		stays.wantNumbers(1, before+after)
		for range streams {
			if reason := <-f.closed; reason != string(CloseRevoked) {
				t.Errorf("hook was told %q", reason)
			}
		}
	})
}

func TestPathLosesOneChannel(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path)
		holders := f.held()
		c, only := f.dial("", "a", "b", "x:1", "x:2"), f.dial("", "a")
		c.want(EventOpen)
		only.want(EventOpen)
		first, second := <-holders, <-holders
		f.count("a", 1, 1)
		c.wantNumbers(1, 1)
		only.wantNumbers(1, 1)
		for _, h := range []*Holder{first, second} {
			h.Lose(pattern(t, "unheard:of"), "")
			h.Lose(pattern(t, "a"), "left the project")
		}
		f.count("a", 2, 9)
		f.count("b", 1, 2)
		wantError(t, c.next(), "a", "left the project")
		last := c.wantNumbers(1, 2)
		wantError(t, only.next(), "a", "left the project")
		wantRevoked(t, only.next(), "left the project")
		only.wantEnd()

		// Several at once.
		first.Lose(pattern(t, "x:*"), "")
		lost := map[string]bool{}
		for range 2 {
			var r refusal
			e := c.want(EventError)
			if err := json.Unmarshal([]byte(e.data), &r); err != nil || r.Reason != string(CloseRevoked) {
				t.Errorf("got %+v", e)
			}
			lost[r.Channel] = true
		}
		if !lost["x:1"] || !lost["x:2"] {
			t.Errorf("lost are %v", lost)
		}
		f.count("x:1", 1, 1)
		f.count("b", 3, 3)
		c.wantNumbers(3, 3)
		c.Close()

		// The place in the lost channel is where it was, if the right comes back.
		back := f.dial(last.id, "a", "b")
		back.want(EventOpen)
		got := map[string]int{}
		for range 9 {
			var e struct{ Channel string }
			json.Unmarshal([]byte(back.want("count").data), &e)
			got[e.Channel]++
		}
		if got["a"] != 8 || got["b"] != 1 {
			t.Errorf("resumed with %v, want what followed", got)
		}
	})
}

// Who loses a right while the channels are joined gets nothing of it.
func TestPathIsRevokedBeforeItBegins(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path)
		first := f.dial("", "a", "b")
		first.want(EventOpen)
		f.count("a", 1, 3)
		f.count("b", 1, 1)
		cursor := NewCursor("a", f.broker.publish("a", "x"))
		f.broker.set(func() { f.broker.held = true })

		f.asking(func(s *Session) {
			s.Holder = &Holder{User: "alice"}
			s.Holder.End(CloseRevoked, "")
		})
		c := f.dial(cursor, "a", "c")
		wantRevoked(t, c.want(EventClose), string(CloseRevoked))
		c.wantEnd()

		f.asking(func(s *Session) {
			s.Holder = &Holder{User: "alice"}
			s.Holder.Lose(pattern(t, "a"), "gone")
			s.Holder.Lose(pattern(t, "c"), "gone")
		})
		c = f.dial(cursor, "a", "b", "c")
		open := c.want(EventOpen)
		if strings.Contains(open.data, `"a"`) || !strings.Contains(open.data, `"b"`) {
			t.Errorf("opened with %s", open.data)
		}
		c.want(EventError)
		c.want(EventError)
		f.count("a", 5, 5)
		f.count("b", 2, 2)
		c.wantNumbers(2, 2)
	})
}

// A client that does not read, and so still has bytes to come, is told behind
// them.
func TestPathIsRevokedWhileItsSocketIsFull(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path, func(o *Options) { o.WriteTimeout = time.Minute })
		holders := f.held()
		c := f.dial("", "a", "b")
		c.SetDeadline(time.Now().Add(5 * time.Minute))
		c.want(EventOpen)
		h := <-holders
		pad := strings.Repeat("x", 200<<10)
		f.count("a", 1, 40, pad)
		h.Lose(pattern(t, "a"), "")
		f.count("a", 41, 41, pad)
		f.count("b", 1, 1)
		n := 0
		for e := c.next(); e.event != EventError; e = c.next() {
			if n++; n > 40 || !strings.Contains(e.data, fmt.Sprintf(`"n":%d}`, n)) {
				t.Fatalf("got %+v as number %d", e, n)
			}
		}
		c.wantNumbers(1, 1)
		h.End(CloseRevoked, "")
		wantRevoked(t, c.want(EventClose), string(CloseRevoked))
		c.wantEnd()
	})
}

func TestPollIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		ask := func() (*Holder, <-chan polled) {
			s := session(t, "", "a", "b")
			s.Holder = &Holder{User: "alice"}
			return s.Holder, f.poll(t.Context(), s)
		}
		h, done := ask()
		h.End(CloseRevoked, "")
		f.broker.publish("a", "x")
		if p := <-done; p.reason != CloseRevoked || p.err != nil || p.w.Body.Len() > 0 {
			t.Errorf("answered %+v", p)
		}
		h, done = ask()
		h.Lose(pattern(t, "a"), "")
		f.broker.publish("a", `{"type":"lost"}`)
		f.broker.publish("b", `{"type":"kept"}`)
		(<-done).want(t, 0, "kept")
		h, done = ask()
		h.Lose(pattern(t, "a"), "")
		h.Lose(pattern(t, "b"), "")
		if p := <-done; p.reason != CloseRevoked {
			t.Errorf("answered %+v", p)
		}
	})
}
