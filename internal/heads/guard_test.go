package heads

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

const (
	hello = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
	post  = "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab\ncd"
)

// requests are whole streams of bytes, with how many requests are in them
// before one that is ambiguous, if there is one.
var requests = []struct {
	name, text string
	served     int
	refused    bool
}{
	{"one", hello, 1, false},
	{"three", hello + hello + hello, 3, false},
	{"bodies that look like heads", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 39\r\n\r\nContent-Length: 1\nContent-Length: 2\r\n\r\n" + hello, 2, false},
	{"a body between", hello + post + hello, 3, false},
	{"a chunked body", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 1, false},
	{"empty lines between", post + "\r\n" + hello, 2, false},
	{"length and encoding", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, true},
	{"encoding and length", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", 0, true},
	{"encoding that hides and length", "POST / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: \tchunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 0, true},
	{"length twice", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 0, true},
	{"the same length twice", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", 0, true},
	{"a list of lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nabcde", 0, true},
	{"a length with a sign", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nabcde", 0, true},
	{"a length behind a screen of spaces", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:" + strings.Repeat(" ", 100) + "5\r\n\r\nabcde", 0, true},
	{"encoding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + hello, 0, true},
	{"a folded line", "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n", 0, true},
	{"a folded line with a tab", "GET / HTTP/1.1\r\nHost: x\r\n\tc: d\r\n\r\n", 0, true},
	{"a bare LF", "GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n", 0, true},
	{"a bare LF behind the request line", "GET / HTTP/1.1\nHost: x\r\n\r\n", 0, true},
	{"an end by bare LF", "GET / HTTP/1.1\r\nHost: x\r\n\n", 0, true},
	{"a bare CR", "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\rX-C: d\r\n\r\n", 0, true},
	{"the second of two", hello + "GET / HTTP/1.1\r\nHost: x\n\r\n", 1, true},
	{"behind a body", post + "GET / HTTP/1.1\r\nHost: x\n\r\n", 1, true},
}

// However the bytes are cut, the judgement is the same.
func TestScanner(t *testing.T) {
	for _, tt := range requests {
		for cut := 1; cut <= len(tt.text); cut++ {
			var s scanner
			ok := true
			for piece := range slices.Chunk([]byte(tt.text), cut) {
				ok = s.scan(piece) == len(piece)
			}
			if ok == tt.refused {
				t.Errorf("%s, in pieces of %d: accepted is %v", tt.name, cut, ok)
			}
		}
	}
}

// Through net/http: what comes before is served, the ambiguous is answered with
// 400, and nothing after it is served.
func TestGuardedServer(t *testing.T) {
	var paths []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		_, _ = io.Copy(io.Discard, r.Body)
		if len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
	}))
	server.Listener = Guard(server.Listener)
	server.Start()
	defer server.Close()
	for _, tt := range requests {
		paths = nil
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		fmt.Fprint(c, tt.text)
		for range tt.served {
			if a, err := http.ReadResponse(r, nil); err != nil || a.StatusCode != 200 {
				t.Fatalf("%s: %v, %v", tt.name, a, err)
			}
		}
		if tt.refused {
			a, err := http.ReadResponse(r, nil)
			if err != nil || a.StatusCode != 400 || !a.Close {
				t.Fatalf("%s: %v, %v", tt.name, a, err)
			}
			_, _ = io.Copy(io.Discard, a.Body)
			if _, err := r.ReadByte(); err == nil {
				t.Errorf("%s: the connection is still open", tt.name)
			}
		}
		c.Close()
		if len(paths) != tt.served {
			t.Errorf("%s: served %q, want %d", tt.name, paths, tt.served)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, tt := range requests {
		f.Add(tt.text, 7)
	}
	f.Fuzz(func(t *testing.T, text string, cut int) {
		var whole, pieces scanner
		want, got := whole.scan([]byte(text)), 0
		for piece := range slices.Chunk([]byte(text), max(1, cut)) {
			got += pieces.scan(piece)
		}
		if got != want {
			t.Errorf("%q in pieces of %d: %d bytes are good, as a whole %d", text, cut, got, want)
		}
	})
}
