package accept

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// wire is a listener in memory: what is sent to it is accepted, or returned as
// the error.
type wire struct {
	dialled chan any
	closed  chan struct{}
	once    sync.Once
}

func newWire() *wire { return &wire{dialled: make(chan any, 100_000), closed: make(chan struct{})} }

func (w *wire) Accept() (net.Conn, error) {
	select {
	case what := <-w.dialled:
		if c, ok := what.(net.Conn); ok {
			return c, nil
		}
		return nil, what.(error)
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error   { w.once.Do(func() { close(w.closed) }); return nil }
func (w *wire) Addr() net.Addr { return &net.TCPAddr{} }

// dial connects, and returns the client's side.
func (w *wire) dial() net.Conn {
	client, server := net.Pipe()
	w.dialled <- server
	return client
}

// acceptError is what net returns for an error of accept(2).
func acceptError(number syscall.Errno) error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", number)}
}

var discard = slog.New(slog.DiscardHandler)

// full returns a listener of which all places are taken.
func full(t *testing.T, w *wire) (l *Listener, taken []net.Conn) {
	t.Helper()
	l = Pace(w, discard)
	t.Cleanup(func() { l.Close() })
	for range Handshakes {
		w.dial()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		l.ConnState(c, http.StateNew)
		taken = append(taken, c)
	}
	return l, taken
}

func TestSilentConnectionsStopNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		begin := time.Now()
		l, _ := full(t, w)
		if took := time.Since(begin); took != 0 {
			t.Fatalf("%d places took %v", Handshakes, took)
		}
		for i := range 3 * Handshakes {
			w.dial()
			if _, err := l.Accept(); err != nil {
				t.Fatal(err)
			}
			if took, want := time.Since(begin), Patience*time.Duration(1+i/Handshakes); took != want {
				t.Fatalf("connection %d behind silent ones was accepted after %v, want %v", i, took, want)
			}
		}
	})
}

func TestAPlaceIsGivenBack(t *testing.T) {
	for state, want := range map[http.ConnState]time.Duration{
		http.StateHijacked: 0, http.StateIdle: 0, http.StateClosed: 0,
		http.StateNew: Patience, http.StateActive: Patience,
	} {
		t.Run(state.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWire()
				l, taken := full(t, w)
				w.dial()
				begin, accepted := time.Now(), make(chan time.Duration)
				go func() {
					if _, err := l.Accept(); err != nil {
						t.Error(err)
					}
					accepted <- time.Since(begin)
				}()
				synctest.Wait()
				l.ConnState(taken[7], state)
				l.ConnState(taken[7], state) // giving back twice gives one
				if took := <-accepted; took != want {
					t.Errorf("the next was accepted after %v, want %v", took, want)
				}
				l.mu.Lock()
				defer l.mu.Unlock()
				if want == 0 && len(l.taken) != Handshakes {
					t.Errorf("%d places are taken, want %d", len(l.taken), Handshakes)
				}
			})
		})
	}
}

func TestCloseEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		l, _ := full(t, w)
		w.dial()
		ended := make(chan error)
		begin := time.Now()
		go func() {
			_, err := l.Accept()
			ended <- err
		}()
		synctest.Wait()
		l.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) || time.Since(begin) != 0 {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

// serve runs a server over w until the test's end, and returns how Serve ended.
func serve(t *testing.T, w *wire, log *slog.Logger, h http.HandlerFunc) (ended chan error, stop func()) {
	l := Pace(w, log)
	s := &http.Server{Handler: l.Handler(h), ConnState: l.ConnState, ConnContext: l.ConnContext, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	ended = make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	return ended, func() { s.Close() }
}

// get asks once and closes.
func get(c net.Conn) error {
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// A storm, behind which silent connections stand as well: never do more
// requests run at the same time than there are places, and all are answered.
func TestStorm(t *testing.T) {
	const storm, silent, work = 2000, Handshakes, time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		var running, most atomic.Int64
		ended, stop := serve(t, w, discard, func(http.ResponseWriter, *http.Request) {
			n := running.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(work)
			running.Add(-1)
		})
		begin := time.Now()
		var quiet []net.Conn
		for range silent {
			quiet = append(quiet, w.dial())
		}
		var clients sync.WaitGroup
		for range storm {
			c := w.dial()
			clients.Go(func() {
				if err := get(c); err != nil {
					t.Error(err)
				}
			})
		}
		clients.Wait()
		if n := most.Load(); n > Handshakes {
			t.Errorf("%d requests at the same time, want %d at most", n, Handshakes)
		}
		if took, want := time.Since(begin), Patience+work*(storm/Handshakes+1); took > want {
			t.Errorf("the storm took %v, want %v at most", took, want)
		}
		for _, c := range quiet {
			c.Close()
		}
		stop()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// Responses that last hold nobody up.
func TestStreams(t *testing.T) {
	const streams = 10 * Handshakes
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		end := make(chan struct{})
		ended, stop := serve(t, w, discard, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			<-end
		})
		begin := time.Now()
		for i := range streams {
			c := w.dial()
			defer c.Close()
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took != 0 {
				t.Fatalf("stream %d began after %v", i, took)
			}
		}
		close(end)
		stop()
		<-ended
	})
}

// Errors that pass neither end the server nor have it spin.
func TestAcceptErrorsThatPass(t *testing.T) {
	for _, number := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPROTO, syscall.EPERM} {
		t.Run(number.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWire()
				const errs = 20
				for range errs {
					w.dialled <- acceptError(number)
				}
				var out strings.Builder
				c := w.dial()
				ended, stop := serve(t, w, slog.New(slog.NewTextHandler(&out, nil)), func(http.ResponseWriter, *http.Request) {})
				begin := time.Now()
				if err := get(c); err != nil {
					t.Fatal(err)
				}
				// 5 ms, doubled up to 1 s.
				if took := time.Since(begin); took < 10*time.Second || took > errs*time.Second {
					t.Errorf("%d errors took %v", errs, took)
				}
				stop()
				<-ended
				if n := strings.Count(out.String(), "cannot accept connections"); n != 2 {
					t.Errorf("logged %d times, want one per %v:\n%s", n, quiet, &out)
				}
			})
		})
	}
}

func TestOtherAcceptErrorsEndTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		w.dialled <- acceptError(syscall.EBADF)
		ended, stop := serve(t, w, discard, nil)
		defer stop()
		if err := <-ended; !errors.Is(err, syscall.EBADF) {
			t.Error(err)
		}
	})
}

// The same over real sockets, where connections also break.
func TestSockets(t *testing.T) {
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Pace(below, nil)
	s := &http.Server{ConnState: l.ConnState, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hijack" {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			c.Close()
		}
	})}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	var clients sync.WaitGroup
	for i := range 300 {
		clients.Go(func() {
			c, err := net.Dial("tcp", below.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			switch i % 3 {
			case 0: // breaks
			case 1:
				if err := get(c); err != nil {
					t.Error(err)
				}
			case 2:
				fmt.Fprintf(c, "GET /hijack HTTP/1.1\r\nHost: x\r\n\r\n")
				if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	s.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
