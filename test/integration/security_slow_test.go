package integration_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// slowClient is somebody who holds a connection and does not get to the point.
type slowClient struct {
	name string
	// head is sent at once, drip is repeated a byte at a time, endlessly.
	head, drip string
}

var slowClients = []slowClient{
	{"silent", "", ""},
	{"half a request line", "GET /v1/eve", ""},
	{"half a header", "GET /v1/events?channel=hist:slow HTTP/1.1\r\nHost: x\r\nX-Slow: ", ""},
	{"a header byte at a time", "GET /v1/events?channel=hist:slow HTTP/1.1\r\nHost: x\r\n", "X-Slow: x\r\n"},
	{"a header value without end", "GET /v1/events?channel=hist:slow HTTP/1.1\r\nHost: x\r\nX-Slow: ", "x"},
	{"half a body", "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"channel\":", ""},
	{"no body", "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", ""},
	{"a body byte at a time", "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", " "},
	{"chunks without end", "POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"},
	{"half a payload", "POST /v1/channels/hist:slow/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\nContent-Length: 1000\r\n\r\nx", ""},
	{"half a body that is refused", "POST /v1/channels/hist:slow/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx", ""},
}

// Two hundred clients that say nothing, or say it slowly, delay nobody and are
// ended by the gateway.
func TestSecuritySlowClients(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1})
	base := f.url(0)
	token := harness.Token{Sub: "service", Publish: []string{"**"}}.Sign()
	ch := channel("hist")
	before := open(t, base, on(ch))

	const crowd = 200
	ended := make(chan error, crowd)
	stop := make(chan struct{})
	var conns []net.Conn
	var clients sync.WaitGroup
	defer func() {
		close(stop)
		for _, conn := range conns {
			conn.Close()
		}
		clients.Wait()
	}()
	for i := range crowd {
		c := slowClients[i%len(slowClients)]
		c.head = strings.ReplaceAll(c.head, "TOKEN", token)
		conn, err := net.Dial("tcp", f.replicas[0].Addr)
		must(t, err)
		conns = append(conns, conn)
		clients.Go(func() { ended <- c.hold(conn, stop) })
	}

	// While they are there, everything goes on.
	for n := 1; n <= 20; n++ {
		s := open(t, base, on(ch))
		if a := ask(t, http.MethodPost, of(base, ch), token, harness.Counted(n)); a.status != http.StatusOK {
			t.Fatalf("publish: status %d: %s", a.status, a.body)
		}
		waitNumber(t, s, ch, n)
		waitNumber(t, before, ch, n)
		s.Close()
	}
	wantNumbers(t, before.Now().Of(ch), 1, 20)
	late := time.After(4 * harness.Deadline)
	for i := range crowd {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-late:
			t.Fatalf("%d of %d slow clients are still connected", crowd-i, crowd)
		}
	}
	count(t, f, ch, 21, 21)
	waitNumber(t, before, ch, 21)
	stillOpen(t, before)
	if n, err := f.db().Exists(t.Context(), "gw:hist:slow").Result(); err != nil || n != 0 {
		t.Errorf("half a payload was published, or half a subscription served (%d, %v)", n, err)
	}
}

// hold does what the client does until the gateway has ended the connection,
// and returns what is wrong with the end.
func (c slowClient) hold(conn net.Conn, stop <-chan struct{}) error {
	if _, err := io.WriteString(conn, c.head); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	closed := make(chan struct{})
	var drip sync.WaitGroup
	if c.drip != "" {
		drip.Go(func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-tick.C:
				case <-closed:
					return
				case <-stop:
					return
				}
				at := i % len(c.drip)
				if _, err := io.WriteString(conn, c.drip[at:at+1]); err != nil {
					return
				}
			}
		})
	}
	_ = conn.SetReadDeadline(time.Now().Add(4 * harness.Deadline))
	said, err := io.ReadAll(conn)
	close(closed)
	drip.Wait()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s: the gateway does not end it", c.name)
	case len(said) > 0 && !strings.HasPrefix(string(said), "HTTP/1.1 4"):
		return fmt.Errorf("%s: was answered %.200q", c.name, said)
	}
	return nil // closed, or reset: the gateway's end of it
}
