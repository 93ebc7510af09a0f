package sse

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// permit counts how often it was released.
type permit struct{ released atomic.Int32 }

func (p *permit) Release() { p.released.Add(1) }

// permits are those of all streams that are asked for.
type permits struct {
	t    *testing.T
	mu   sync.Mutex
	list []*permit
}

// permits gives each stream a permit from now on, after the change.
func (f *fixture) permits(change func(*Session)) *permits {
	ps := &permits{t: f.t}
	f.asking(func(s *Session) {
		change(s)
		p := &permit{}
		s.Permit = p
		ps.mu.Lock()
		defer ps.mu.Unlock()
		ps.list = append(ps.list, p)
	})
	return ps
}

func (ps *permits) count() (given, released, twice int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.list {
		n := int(p.released.Load())
		released += min(n, 1)
		twice += max(n-1, 0)
	}
	return len(ps.list), released, twice
}

// want waits until so many of the permits that were given are still held.
func (ps *permits) want(given, held int) {
	ps.t.Helper()
	for late := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		g, released, twice := ps.count()
		if twice > 0 {
			ps.t.Fatalf("%d permits were released once too often", twice)
		}
		if g == given && g-released == held {
			return
		}
		if time.Now().After(late) {
			ps.t.Fatalf("%d permits, of which %d are held; want %d and %d", g, g-released, given, held)
		}
	}
}

func asBefore(*Session) {}

// A permit is held while the stream is open and released once, however it ends.
func TestPathReleasesPermits(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, f *fixture, c *caller){
		"the client leaves": func(_ *testing.T, _ *fixture, c *caller) { c.Close() },
		"the client resets": func(_ *testing.T, _ *fixture, c *caller) {
			c.Conn.(*net.TCPConn).SetLinger(0)
			c.Close()
		},
		"drain": func(t *testing.T, f *fixture, _ *caller) {
			if err := f.handler.Drain(t.Context(), 0); err != nil {
				t.Error(err)
			}
		},
		"the client reads no more": func(_ *testing.T, f *fixture, _ *caller) {
			for large := strings.Repeat("x", 1<<20); len(f.closed) == 0; runtime.Gosched() {
				f.broker.publish("a", large)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachPath(t, func(t *testing.T, path func(*Options)) {
				f := newFixture(t, path, func(o *Options) { o.WriteTimeout = 100 * time.Millisecond })
				ps := f.permits(asBefore)
				c := f.dial("", "a")
				c.want(EventOpen)
				ps.want(1, 1)
				end(t, f, c)
				ps.want(1, 0)
				f.stop()
				ps.want(1, 0)
			})
		})
	}
}

func TestPathReleasesThePermitOfAnEndedToken(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path)
		ps := f.permits(func(s *Session) { s.Expires = time.Now().Add(200 * time.Millisecond) })
		c := f.dial("", "a")
		c.want(EventOpen)
		wantClose(t, c.want(EventClose), CloseTokenExpired)
		ps.want(1, 0)
	})
}

// The permit of a stream that never begins is released as well.
func TestPathReleasesPermitsOfTheRefused(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path, func(o *Options) { o.MaxConnections, o.JoinTimeout, o.Heartbeat = 1, 50*time.Millisecond, time.Second })
		ps := f.permits(asBefore)
		if c := f.dial("", "a::b"); c.response.StatusCode != 400 {
			t.Errorf("answered %s", c.response.Status)
		}
		ps.want(1, 0)
		f.broker.set(func() { f.broker.held = true })
		wantClose(t, f.dial("", "a").want(EventClose), CloseUnavailable)
		ps.want(2, 0)
		f.broker.set(func() { f.broker.held = false })
		f.dial("", "b").want(EventOpen)
		wantClose(t, f.dial("", "b").want(EventClose), CloseFull)
		ps.want(4, 1)
		f.broker.set(func() { f.broker.down = true })
		wantClose(t, f.dial("", "b").want(EventClose), CloseUnavailable)
		ps.want(5, 1)
		if err := f.handler.Drain(t.Context(), 0); err != nil {
			t.Error(err)
		}
		wantClose(t, f.dial("", "b").want(EventClose), CloseDraining)
		ps.want(6, 0)
	})
}

// What a loop cannot take over goes on with a goroutine, and with its permit.
func TestOverTLSReleasesPermits(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		f := newFixture(t, func(o *Options) { o.Loops = 1 })
		ps := f.permits(asBefore)
		s := f.server()
		s.EnableHTTP2 = http2
		s.StartTLS()
		answer, err := s.Client().Get(s.URL + "?channel=a")
		if err != nil {
			t.Fatal(err)
		}
		if e, err := newParser(answer.Body).next(); err != nil || e.event != EventOpen {
			t.Fatalf("got %+v, %v", e, err)
		}
		ps.want(1, 1)
		answer.Body.Close()
		ps.want(1, 0)
	}
}

// A stream that comes when the loops have ended is cut, and one that they had.
func TestLoopsEndWithPermits(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Loops, o.JoinTimeout = 1, 50*time.Millisecond })
	ps := f.permits(asBefore)
	f.dial("", "a").want(EventOpen)
	f.stop()
	ps.want(1, 0)
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /?channel=a HTTP/1.1\r\nHost: x\r\n\r\n")
	_, _ = io.Copy(io.Discard, conn) // until it is cut
	ps.want(2, 0)
}

func TestPollReleasesItsPermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for _, name := range []string{"a", "a::b"} {
			s := session(t, "", name)
			p := &permit{}
			s.Permit = p
			done := f.poll(t.Context(), s)
			if name == "a" && p.released.Load() != 0 {
				t.Error("the permit of a poll that waits was released")
			}
			<-done
			if n := p.released.Load(); n != 1 {
				t.Errorf("%s: released %d times, want once", name, n)
			}
		}
	})
}

// Who is refused by a limit learns of which one, and is to come back later than
// others, each at a time of his own.
func TestRefuseLimit(t *testing.T) {
	f := newFixture(t)
	retries := make(map[int64]bool)
	for range 50 {
		w := httptest.NewRecorder()
		f.handler.RefuseLimit(w, "user_connections")
		frames := newParser(w.Body).all()
		if w.Code != 200 || len(frames) != 1 {
			t.Fatalf("answered %d with %+v", w.Code, frames)
		}
		var c closing
		if err := json.Unmarshal([]byte(frames[0].data), &c); err != nil {
			t.Fatal(err)
		}
		if want := (closing{string(CloseLimit), true, frames[0].retry.Milliseconds(), "user_connections"}); frames[0].event != EventClose || c != want || c.Retry < 5000 || c.Retry > 15000 {
			t.Errorf("got %+v, want %+v within 5 and 15 s", frames[0], want)
		}
		retries[c.Retry] = true
		if reason := <-f.refused; reason != CloseLimit {
			t.Errorf("hook was told %q", reason)
		}
	}
	if len(retries) < 40 {
		t.Errorf("50 refusals have %d different retries", len(retries))
	}
}
