package httpapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/limit"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/sse"
)

// fixture is the interface over a broker without events, served over TCP on all
// of loopback until the test's end.
type fixture struct {
	t       *testing.T
	addr    string
	streams *sse.Handler

	mu      sync.Mutex
	limited map[limit.Name]int
}

// onEachPath runs a test with a goroutine for each stream, and with loops.
func onEachPath(t *testing.T, test func(t *testing.T, loops int)) {
	for name, loops := range map[string]int{"goroutine": 0, "loop": 1} {
		t.Run(name, func(t *testing.T) { test(t, loops) })
	}
}

func serveSockets(t *testing.T, loops int, change func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, limited: make(map[limit.Name]int)}
	o := wire(t, []channels.Policy{policy(t, "**", channels.AccessPublic, "")}, sse.Options{Loops: loops})
	f.streams = o.Streams
	began := time.Now()
	o.Now = func() time.Time { return began } // rates do not recover
	o.Limited = func(n limit.Name) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.limited[n]++
	}
	change(&o)
	var err error
	s := httptest.NewUnstartedServer(New(o))
	s.Listener.Close()
	if s.Listener, err = net.Listen("tcp", "0.0.0.0:0"); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	f.addr = net.JoinHostPort("127.0.0.1", port)
	s.Config.ConnContext = sse.WithConn
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	s.Start()
	return f
}

// wantLimited checks how often a limit was counted.
func (f *fixture) wantLimited(name limit.Name, n int) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.limited[name] != n {
		f.t.Errorf("counted %v, want %s %d times", f.limited, name, n)
	}
}

// wantConnections waits until so many streams are open.
func (f *fixture) wantConnections(n int) {
	f.t.Helper()
	for late := time.Now().Add(20 * time.Second); f.streams.Connections() != n; runtime.Gosched() {
		if time.Now().After(late) {
			f.t.Fatalf("%d streams are open, want %d", f.streams.Connections(), n)
		}
	}
}

// request is one of a client. Empty fields have the defaults of a stream of
// nobody, from 127.0.0.1.
type request struct {
	method, path string
	user         string // whose token it has
	ttl          time.Duration
	from         string // address of the connection
	header       []string
	body         string
}

// answer is what came back, with the connection that it came over.
type answer struct {
	*http.Response
	conn *net.TCPConn
	in   *bufio.Reader
}

func (f *fixture) do(r request) *answer {
	f.t.Helper()
	if r.method == "" {
		r.method = "GET"
	}
	if r.path == "" {
		r.path = "/v1/events?channel=a"
	}
	if r.from == "" {
		r.from = "127.0.0.1"
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(r.from)}}
	conn, err := dialer.Dial("tcp4", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", r.method, r.path, len(r.body))
	if r.user != "" {
		token, err := auth.Sign(testSecret, auth.Grant{Subject: r.user, Publish: []string{"**"}, TTL: r.ttl}, time.Now())
		if err != nil {
			f.t.Fatal(err)
		}
		text += "Authorization: Bearer " + token + "\r\n"
	}
	for _, h := range r.header {
		text += h + "\r\n"
	}
	if _, err := io.WriteString(conn, text+"\r\n"+r.body); err != nil {
		f.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, &http.Request{Method: r.method})
	if err != nil {
		f.t.Fatal(err)
	}
	return &answer{response, conn.(*net.TCPConn), bufio.NewReader(response.Body)}
}

// event reads one event's name and data.
func (a *answer) event(t *testing.T) (name, data string) {
	t.Helper()
	for {
		line, err := a.in.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: the body ends with %v", a.Status, err)
		}
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "event: "):
			name = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			data = line[len("data: "):]
		case line == "" && name != "":
			return name, data
		}
	}
}

// wantOpen checks that a stream has begun.
func (a *answer) wantOpen(t *testing.T) *answer {
	t.Helper()
	if name, data := a.event(t); a.StatusCode != 200 || name != sse.EventOpen {
		t.Fatalf("%s: got %s %s, want a stream", a.Status, name, data)
	}
	return a
}

// wantRefused checks that this is a stream that a limit has refused, and that
// nothing is left of it. It returns the retry.
func (a *answer) wantRefused(t *testing.T, name limit.Name) (retry int) {
	t.Helper()
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		body, _ := io.ReadAll(a.in)
		t.Fatalf("answered %s %q, want a stream", a.Status, body)
	}
	event, data := a.event(t)
	var closing struct {
		Reason    string
		Limit     limit.Name
		Reconnect bool
		Retry     int
	}
	if err := json.Unmarshal([]byte(data), &closing); err != nil {
		t.Fatal(err)
	}
	if event != sse.EventClose || closing.Reason != "limit" || closing.Limit != name || !closing.Reconnect || closing.Retry < 5000 || closing.Retry > 15000 {
		t.Fatalf("got %s %s, want a refusal by %s", event, data, name)
	}
	if rest, err := io.ReadAll(a.in); err != nil || len(rest) > 0 {
		t.Errorf("the stream goes on with %q, %v", rest, err)
	}
	if n, err := a.conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection stays: %d, %v", n, err)
	}
	return closing.Retry
}

// wantProblem checks that this is the answer 429 of a limit.
func (a *answer) wantProblem(t *testing.T, name limit.Name) {
	t.Helper()
	body, _ := io.ReadAll(a.in)
	var p Problem
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%s %q: %v", a.Status, body, err)
	}
	if a.StatusCode != 429 || a.Header.Get("Content-Type") != "application/problem+json" || p.Limit != name || p.Status != 429 || p.Detail == "" {
		t.Errorf("answered %s %v %s, want 429 that names %s", a.Status, a.Header, body, name)
	}
	var after int
	if _, err := fmt.Sscan(a.Header.Get("Retry-After"), &after); err != nil || after < 5 || after > 15 {
		t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
	}
}

func (a *answer) wantStatus(t *testing.T, status int) {
	t.Helper()
	if a.StatusCode != status {
		body, _ := io.ReadAll(a.in)
		t.Fatalf("answered %s %s, want %d", a.Status, body, status)
	}
}
