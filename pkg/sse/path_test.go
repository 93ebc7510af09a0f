package sse

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

// onEachPath runs a test with a goroutine for each stream, and with loops.
func onEachPath(t *testing.T, test func(t *testing.T, path func(*Options))) {
	for name, loops := range map[string]int{"goroutine": 0, "one loop": 1, "three loops": 3} {
		t.Run(name, func(t *testing.T) {
			test(t, func(o *Options) { o.Loops = loops })
		})
	}
}

// caller is a client over TCP.
type caller struct {
	t *testing.T
	net.Conn
	response *http.Response
	events   *parser
}

// dial opens a stream over a new connection. What follows the request is sent
// with it.
func (f *fixture) dial(cursor string, names ...string) *caller {
	f.t.Helper()
	return f.dialAs("HTTP/1.1", cursor, "", names...)
}

func (f *fixture) dialAs(proto, cursor, more string, names ...string) *caller {
	f.t.Helper()
	if f.addr == "" {
		s := f.server()
		s.Start()
		f.addr = s.Listener.Addr().String()
	}
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	request := fmt.Sprintf("GET /?channel=%s %s\r\nHost: x\r\n", strings.Join(names, "&channel="), proto)
	if cursor != "" {
		request += "Last-Event-ID: " + cursor + "\r\n"
	}
	io.WriteString(conn, request+"\r\n"+more)
	r := bufio.NewReader(conn)
	c := &caller{t: f.t, Conn: conn}
	if c.response, err = http.ReadResponse(r, nil); err != nil {
		f.t.Fatal(err)
	}
	c.events = newParser(c.response.Body)
	return c
}

// asking changes what streams ask for from now on.
func (f *fixture) asking(change func(*Session)) { f.session.Store(&change) }

// next returns the next event that is no comment.
func (c *caller) next() frame {
	c.t.Helper()
	for {
		f, err := c.events.next()
		if err != nil {
			c.t.Fatalf("the stream ended: %v", err)
		}
		if !f.comment {
			return f
		}
	}
}

func (c *caller) want(event string) frame {
	c.t.Helper()
	f := c.next()
	if f.event != event {
		c.t.Fatalf("got %+v, want %s", f, event)
	}
	return f
}

// wantNumbers reads the events first to last, and returns the last.
func (c *caller) wantNumbers(first, last int) (f frame) {
	c.t.Helper()
	for n := first; n <= last; n++ {
		if f = c.want("count"); !strings.Contains(f.data, fmt.Sprintf(`"n":%d}`, n)) {
			c.t.Fatalf("got %+v, want number %d", f, n)
		}
	}
	return f
}

func (c *caller) wantEnd() {
	c.t.Helper()
	if f, err := c.events.next(); !errors.Is(err, io.EOF) {
		c.t.Errorf("after the end came %+v, %v", f, err)
	}
}

func (f *fixture) count(channel string, first, last int, padding ...string) {
	for n := first; n <= last; n++ {
		f.broker.publish(channel, fmt.Sprintf(`{"type":"count","pad":"%s","n":%d}`, strings.Join(padding, ""), n))
	}
}

func TestPathHeaders(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path)
		for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
			c := f.dialAs(proto, "", "", "orders")
			for name, want := range map[string]string{
				"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store, no-transform",
				"X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff", "X-Own": "kept",
			} {
				if got := c.response.Header.Get(name); got != want {
					t.Errorf("%s: %s is %q, want %q", proto, name, got, want)
				}
			}
			if _, err := http.ParseTime(c.response.Header.Get("Date")); err != nil {
				t.Errorf("%s: the answer's date: %v", proto, err)
			}
			if c.response.StatusCode != 200 || c.response.ContentLength != -1 {
				t.Errorf("%s: answered %+v", proto, c.response)
			}
			c.want(EventOpen)
		}
		loops := 0
		if f.handler.engine != nil {
			loops = 2
		}
		if all, byLoops := f.handler.Connections(), f.handler.LoopConnections(); all != 2 || byLoops != loops {
			t.Errorf("%d connections, of which %d by loops; want 2 and %d", all, byLoops, loops)
		}
	})
}

// Many streams of one channel, and some of several, each from its own place.
func TestPathDeliversAndResumes(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path)
		f.count("a", 1, 5)
		var streams []*caller
		for range 40 {
			streams = append(streams, f.dial("", "a"))
		}
		several := f.dial("", "a", "status:s", "b")
		for _, c := range append(streams, several) {
			c.want(EventOpen)
		}
		f.count("a", 6, 300)
		var cursors []string
		for i, c := range streams {
			cursors = append(cursors, c.wantNumbers(6, 10+i).id)
			c.Close()
		}
		seen := several.wantNumbers(6, 20)
		several.Close()
		for i, cursor := range cursors {
			c := f.dial(cursor, "a")
			if got := c.want(EventOpen).id; got != cursor {
				t.Fatalf("resumed at %q, want %q", got, cursor)
			}
			c.wantNumbers(11+i, 300)
		}
		back := f.dial(seen.id, "a", "b")
		back.want(EventOpen)
		last := back.wantNumbers(21, 300)
		f.count("b", 1, 2)
		both := back.wantNumbers(1, 2)
		if last.id == both.id {
			t.Error("the cursor does not move with the second channel")
		}
		f.count("a", 301, 301)
		again := f.dial(both.id, "b", "a")
		again.want(EventOpen)
		again.wantNumbers(301, 301)
	})
}

// Events of all sizes, more than a socket takes at once, to a client that reads
// slowly: nothing is lost, mixed up or doubled.
func TestPathFillsTheSocket(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path)
		c, several := f.dial("", "a"), f.dial("", "a", "b")
		c.want(EventOpen)
		several.want(EventOpen)
		const last = 700
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := 1; n <= last; n++ {
				f.count("a", n, n, strings.Repeat("x", n*7919%20_000))
			}
		}()
		<-done
		c.wantNumbers(1, last)
		several.wantNumbers(1, last)
	})
}

func TestPathDrains(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path)
		var streams []*caller
		for range 20 {
			streams = append(streams, f.dial("", "a"))
		}
		for _, c := range streams {
			c.want(EventOpen)
		}
		f.count("a", 1, 50)
		if err := f.handler.Drain(t.Context(), 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		retries := map[time.Duration]bool{}
		for _, c := range streams {
			c.wantNumbers(1, 50)
			end := c.want(EventClose)
			wantClose(t, end, CloseDraining)
			retries[end.retry] = true
			c.wantEnd()
		}
		if len(retries) < 10 {
			t.Errorf("20 streams have %d different retries", len(retries))
		}
		refused := f.dial("", "a")
		wantClose(t, refused.want(EventClose), CloseDraining)
		refused.wantEnd()
		if n := f.handler.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestPathEndsWithItsToken(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path)
		f.asking(func(s *Session) { s.Expires = time.Now().Add(300 * time.Millisecond) })
		c := f.dial("", "a")
		c.want(EventOpen)
		f.count("a", 1, 1)
		c.wantNumbers(1, 1)
		wantClose(t, c.want(EventClose), CloseTokenExpired)
		c.wantEnd()
		if reason := <-f.closed; reason != string(CloseTokenExpired) {
			t.Errorf("hook was told %q", reason)
		}
	})
}

// A right that ends while the channels are joined gives no event any more.
func TestPathEndsWithItsTokenBeforeItBegins(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		var late atomic.Int64
		f := newFixture(t, path, func(o *Options) {
			o.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
		})
		first := f.dial("", "a") // from now on there is a log
		at := f.broker.publish("a", "1")
		f.count("a", 2, 2)
		first.want(EventOpen)
		first.want("message")
		first.wantNumbers(2, 2)
		joining := make(chan struct{})
		f.broker.set(func() { f.broker.held = true })
		f.asking(func(s *Session) {
			s.Expires = time.Now().Add(time.Hour)
			close(joining)
		})
		go func() {
			<-joining
			for f.broker.hub.Channels() < 2 || f.handler.engine != nil && f.handler.LoopConnections() < 2 {
				runtime.Gosched()
			}
			late.Store(int64(2 * time.Hour))
			f.broker.hub.Confirmed("b")
		}()
		c := f.dial(NewCursor("a", at), "a", "b")
		c.want(EventOpen)
		wantClose(t, c.want(EventClose), CloseTokenExpired)
		c.wantEnd()
	})
}

// A stream whose channels cannot be joined says so in time, and one that hears
// of an end meanwhile too.
func TestPathIsRefusedForNow(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path, func(o *Options) { o.JoinTimeout, o.Heartbeat = 50*time.Millisecond, time.Second })
		f.broker.set(func() { f.broker.held = true })
		c := f.dial("", "a")
		wantClose(t, c.want(EventClose), CloseUnavailable)
		c.wantEnd()
		f.broker.set(func() { f.broker.down = true })
		c = f.dial("", "a")
		wantClose(t, c.want(EventClose), CloseUnavailable)
		c.wantEnd()
		for range 2 {
			if reason := <-f.refused; reason != CloseUnavailable {
				t.Errorf("refused because of %q", reason)
			}
		}
		if n := len(f.closed); n != 0 {
			t.Errorf("%d streams ended that never began", n)
		}
	})
}

// Who comes when the replica is full is told to come back.
func TestPathRefusesWhatIsTooMuch(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path, func(o *Options) { o.MaxConnections = 2 })
		first, second := f.dial("", "a"), f.dial("", "a")
		first.want(EventOpen)
		second.want(EventOpen)
		third := f.dial("", "a")
		wantClose(t, third.want(EventClose), CloseFull)
		third.wantEnd()
		if reason := <-f.refused; reason != CloseFull {
			t.Errorf("refused because of %q", reason)
		}
		first.Close()
		<-f.closed
		for f.handler.Connections() > 1 {
			runtime.Gosched() // the hook is told first
		}
		f.dial("", "a").want(EventOpen)
	})
}

func TestPathRefusesBadChannels(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path)
		c := f.dial("", "a", "b::c")
		if body, _ := io.ReadAll(c.response.Body); c.response.StatusCode != 400 || !strings.Contains(string(body), "channel") {
			t.Errorf("answered %d %s", c.response.StatusCode, body)
		}
		if n := f.handler.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestPathTellsGapsAndEndsTheSlow(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path)
		f.broker.publish("a", "1")
		f.asking(func(s *Session) { s.Requests[0].Start.Unreadable = true })
		c := f.dial("", "a")
		c.want(EventOpen)
		f.count("a", 1, 1)
		if gap := c.want(EventGap); !strings.Contains(gap.data, string(channels.GapCursor)) {
			t.Errorf("gap is %+v", gap)
		}
		c.wantNumbers(1, 1)

		f.asking(func(*Session) {})
		slow := f.dial("", "strict:a")
		slow.want(EventOpen)
		pad := strings.Repeat("x", 200<<10)
		f.count("strict:a", 1, 120, pad)
		for n := 1; ; n++ {
			switch e := slow.next(); e.event {
			case "count":
			case EventClose:
				wantClose(t, e, CloseSlow)
				slow.wantEnd()
				return
			default:
				t.Fatalf("got %+v", e)
			}
		}
	})
}

func TestPathHeartbeats(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path, func(o *Options) { o.Heartbeat = 50 * time.Millisecond })
		comments := f.dial("", "a")
		comments.want(EventOpen)
		for range 3 {
			if got, err := comments.events.next(); err != nil || !got.comment {
				t.Fatalf("got %+v, %v, want a comment", got, err)
			}
		}
		f.asking(func(s *Session) { s.HeartbeatEvents = true })
		events := f.dial("", "a")
		events.want(EventOpen)
		for range 3 {
			events.want(EventHeartbeat)
		}
	})
}

// A client that leaves is noticed, also one that has sent more than its request,
// or has only closed its side.
func TestPathNoticesWhoLeaves(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		// A goroutine hears of it only from a write, where there is unread input.
		f := newFixture(t, path, func(o *Options) { o.Heartbeat = 50 * time.Millisecond })
		for name, more := range map[string]string{"nothing": "", "a byte": "x", "a request": "GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
			c := f.dialAs("HTTP/1.1", "", more, "a")
			c.want(EventOpen)
			c.Close()
			if reason := <-f.closed; reason != endedByClient && reason != endedByWrite {
				t.Errorf("sent %s: ended by %q", name, reason)
			}
		}
		for f.handler.Connections() > 0 {
			runtime.Gosched() // the hook is told first
		}
	})
}
