package httpapi

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A body that does not come, with a length or in chunks, is answered and does
// not hold the connection.
func TestSlowBodyIsRefused(t *testing.T) {
	server := httptest.NewServer(New(Options{BodyTimeout: 50 * time.Millisecond}))
	defer server.Close()
	for _, head := range []string{"Content-Length: 100\r\n\r\n{\"ch", "Transfer-Encoding: chunked\r\n\r\n4\r\n{\"ch\r\n"} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\n%s", head)
		conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%q: %v", head, err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: status %d, want 400", head, answer.StatusCode)
		}
	}
}
