package accept

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"
)

// town is a server on all of loopback, until the test's end.
type town struct {
	t    *testing.T
	door *Listener
	port int
	open func() // lets requests of /gate be answered
}

// build starts a server whose door is changed before it opens.
func build(t *testing.T, change func(*Listener)) *town {
	t.Helper()
	below, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Pace(below, discard)
	change(l)
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	s := &http.Server{ConnState: l.ConnState, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gate" {
			<-gate
		}
	})}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		open()
		s.Close()
		<-served
	})
	return &town{t, l, below.Addr().(*net.TCPAddr).Port, open}
}

// dial connects from an address, and says nothing.
func (o *town) dial(from string) net.Conn {
	o.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", o.port))
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// waits returns how many connections wait, and how many have places.
func (o *town) waits() (waiting, held int) {
	o.door.mu.Lock()
	defer o.door.mu.Unlock()
	return o.door.room.count, len(o.door.taken)
}

// Silent connections from one address take all places while it is alone, and
// not one from another that comes then, nor its turns.
func TestAnAddressDoesNotDelayAnother(t *testing.T) {
	o := build(t, func(l *Listener) { l.patience = time.Hour })
	const silent = Handshakes + 200
	for range silent {
		o.dial("127.0.0.1")
	}
	for {
		if waiting, held := o.waits(); held == Handshakes && waiting == silent-Handshakes {
			break // alone it has all of them
		}
		runtime.Gosched()
	}
	for range 2 * Handshakes {
		if err := get(o.dial("127.0.0.2")); err != nil {
			t.Fatal(err)
		}
	}
	// With places that nobody gives back, each address comes to its share.
	var others []net.Conn
	for i := range 3 {
		for range Share {
			others = append(others, o.dial(fmt.Sprint("127.0.0.", 3+i)))
		}
	}
	for _, c := range others {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n"); err != nil { // half of a request
			t.Fatal(err)
		}
	}
	for {
		o.door.mu.Lock()
		shares := 0
		for _, p := range o.door.room.peers {
			if p.held == Share {
				shares++
			}
		}
		o.door.mu.Unlock()
		if shares == 4 {
			break
		}
		runtime.Gosched()
	}
	for _, c := range others {
		if _, err := io.WriteString(c, "\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// So many of them that they fill the room where connections wait, and the
// kernel's queue in front of it, do not either.
func TestAnAddressDoesNotFillTheRoom(t *testing.T) {
	o := build(t, func(l *Listener) { l.patience, l.room.silence = time.Hour, 0 })
	for range Handshakes + 2*Waiting {
		o.dial("127.0.0.1")
	}
	for range 10 {
		if err := get(o.dial("127.0.0.2")); err != nil {
			t.Fatal(err)
		}
	}
}

// Of those that wait in a full room the silent ones are closed, and nobody who
// has said something.
func TestWhoSpeaksWaitsForHisTurn(t *testing.T) {
	dropped := make(chan struct{}, Handshakes)
	o := build(t, func(l *Listener) {
		l.patience, l.room.silence = time.Hour, time.Second
		l.Dropped = func() { dropped <- struct{}{} }
	})
	var clients sync.WaitGroup
	speak := func() {
		c := o.dial("127.0.0.1")
		if _, err := io.WriteString(c, "GET /gate HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
				t.Error(err)
			}
		})
	}
	for range Handshakes {
		speak() // and is not answered yet
	}
	var silent []net.Conn
	for range Handshakes / 2 {
		silent = append(silent, o.dial("127.0.0.1"))
	}
	for range Waiting {
		speak()
	}
	for _, c := range silent {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("a silent connection in a full room: %v, want its end", err)
		}
	}
	o.open()
	clients.Wait()
	if len(dropped) != len(silent) {
		t.Errorf("the hook was told of %d, want %d", len(dropped), len(silent))
	}
}

// When all have gone, nothing is kept of them, and none of those that wait when
// the listener closes is left open.
func TestTheRoomIsEmptied(t *testing.T) {
	o := build(t, func(l *Listener) { l.patience = time.Hour })
	for i := range 100 {
		if err := get(o.dial(fmt.Sprint("127.0.1.", 1+i))); err != nil {
			t.Fatal(err)
		}
	}
	for {
		o.door.mu.Lock()
		kept := len(o.door.room.peers) + len(o.door.room.queue) + len(o.door.taken)
		o.door.mu.Unlock()
		if kept == 0 {
			break
		}
		runtime.Gosched()
	}
	var waiting []net.Conn
	for range Handshakes + 10 {
		waiting = append(waiting, o.dial("127.0.0.1"))
	}
	for n := 0; n < 10; n, _ = o.waits() {
		runtime.Gosched()
	}
	o.door.Close()
	for _, c := range waiting[Handshakes:] {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection that waited was served")
		} else if late, ok := err.(net.Error); ok && late.Timeout() {
			t.Error("a connection that waited is left open")
		}
	}
}
