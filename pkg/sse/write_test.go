package sse

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFailedFlushEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		w := newSink()
		s := f.stream(session(t, "", "orders"), w)
		w.flush = func() error { return errors.New("broken pipe") }
		f.broker.publish("orders", "x")
		s.wantEnded(t)
		if reason := <-f.closed; reason != endedByWrite {
			t.Errorf("ended by %q, want the write", reason)
		}
		if s.err != nil || f.handler.Connections() != 0 {
			t.Errorf("error %v, %d connections left", s.err, f.handler.Connections())
		}
	})
}

func TestFailedFirstFlushEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		w := newSink()
		w.flush = func() error { return errors.New("broken pipe") }
		s := f.stream(session(t, "", "orders"), w)
		s.wantEnded(t)
	})
}

// A stream that lags behind is written in pieces, and hears between any two of
// them that it has to end.
func TestLargeBacklogIsInterruptible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		at := f.broker.publish("orders", "first")
		for range 100 {
			f.broker.publish("orders", strings.Repeat("x", 200<<10))
		}
		w := newSink()
		w.flush = func() error { time.Sleep(5 * time.Second); return nil }
		s := f.stream(session(t, NewCursor("orders", at), "orders"), w)
		time.Sleep(30 * time.Second)
		done := make(chan error, 1)
		go func() { done <- f.handler.Drain(t.Context(), time.Second) }()
		time.Sleep(20 * time.Second)
		s.wantEnded(t)
		if err := <-done; err != nil {
			t.Error(err)
		}
		frames := s.frames()
		wantClose(t, frames[len(frames)-1], CloseDraining)
	})
}

// server serves streams of the channels in the query over TCP.
func (f *fixture) server() *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Own", "kept")
		request := session(f.t, r.Header.Get("Last-Event-ID"), r.URL.Query()["channel"]...)
		if change := f.session.Load(); change != nil {
			(*change)(&request)
		}
		if err := f.handler.Stream(w, r, request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return WithConn(ctx, c) }
	f.t.Cleanup(s.Close)
	return s
}

func TestStuckClientIsGivenUp(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path, func(o *Options) { o.WriteTimeout = 100 * time.Millisecond })
		c := f.dial("", "orders")
		c.want(EventOpen)
		// The client reads no more: buffers fill up, then a write fails.
		large := strings.Repeat("x", 1<<20)
		for {
			f.broker.publish("orders", large)
			select {
			case reason := <-f.closed:
				if reason != endedByWrite {
					t.Errorf("ended by %q, want the write", reason)
				}
				return
			case <-time.After(time.Millisecond): // publishes on; no event is waited for
			}
		}
	})
}

// A stream is not cut for being silent longer than a write may take.
func TestSilenceIsNoSlowWrite(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(o *Options) { o.WriteTimeout, o.Heartbeat = 20*time.Millisecond, 200*time.Millisecond })
			s := f.server()
			s.EnableHTTP2 = http2
			s.StartTLS()
			answer, err := s.Client().Get(s.URL + "?channel=orders")
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			events := newParser(answer.Body)
			for range 4 {
				if _, err := events.next(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestOverHTTP(t *testing.T) {
	for _, tt := range []struct {
		name    string
		proto   int
		loops   int
		start   func(*httptest.Server)
		chunked bool
	}{
		{"HTTP/1.1", 1, 0, (*httptest.Server).Start, true},
		{"HTTP/1.1, by a loop", 1, 1, (*httptest.Server).Start, runtime.GOOS != "linux"},
		{"HTTP/1.1 over TLS", 1, 1, (*httptest.Server).StartTLS, true},
		{"HTTP/2", 2, 1, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, func(o *Options) { o.Loops = tt.loops })
			s := f.server()
			tt.start(s)
			get := func(cursor string) (*http.Response, *parser) {
				r, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL+"?channel=orders", nil)
				r.Header.Set("Last-Event-ID", cursor)
				answer, err := s.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				return answer, newParser(answer.Body)
			}
			want := func(p *parser, event string) frame {
				t.Helper()
				got, err := p.next()
				if err != nil || got.event != event {
					t.Fatalf("got %+v, %v, want %s", got, err, event)
				}
				return got
			}
			answer, events := get("")
			if answer.ProtoMajor != tt.proto || answer.StatusCode != 200 || answer.ContentLength != -1 {
				t.Errorf("answered %s %s, length %d", answer.Proto, answer.Status, answer.ContentLength)
			}
			if chunked := len(answer.TransferEncoding) == 1 && answer.TransferEncoding[0] == "chunked"; chunked != tt.chunked {
				t.Errorf("transfer encoding is %v", answer.TransferEncoding)
			}
			want(events, EventOpen)
			// Each event arrives before the next is published: nothing is held back.
			f.broker.publish("orders", `{"type":"one"}`)
			one := want(events, "one")
			f.broker.publish("orders", `{"type":"two"}`)
			want(events, "two")
			answer.Body.Close()
			if reason := <-f.closed; reason != endedByClient {
				t.Errorf("ended by %q, want the client", reason)
			}

			again, events := get(one.id)
			if open := want(events, EventOpen); open.id != one.id {
				t.Errorf("resumed at %q, want %q", open.id, one.id)
			}
			want(events, "two")
			// A drain ends the answer in an orderly way.
			if err := f.handler.Drain(t.Context(), time.Millisecond); err != nil {
				t.Error(err)
			}
			wantClose(t, want(events, EventClose), CloseDraining)
			if _, err := events.next(); err != io.EOF {
				t.Errorf("the body ends with %v", err)
			}
			again.Body.Close()
			refused, events := get("")
			wantClose(t, want(events, EventClose), CloseDraining)
			refused.Body.Close()
		})
	}
}
