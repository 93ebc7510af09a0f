package integration_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// onBothPaths runs a test against replicas of its own for each way that streams
// are written.
func onBothPaths(t *testing.T, s setup, test func(t *testing.T, f *fixture)) {
	for _, path := range []string{"auto", "goroutine"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			with := s
			with.flags = append([]string{"--stream-path", path}, s.flags...)
			test(t, own(t, with))
		})
	}
}

// wire is a connection of which every byte is the test's own.
type wire struct {
	net.Conn
	*bufio.Reader
}

func (w wire) Read(p []byte) (int, error) { return w.Reader.Read(p) }

func dial(t *testing.T, g *harness.Gateway, text string) wire {
	t.Helper()
	c, err := net.Dial("tcp", g.Addr)
	must(t, err)
	return begin(t, c, text)
}

func begin(t *testing.T, c net.Conn, text string) wire {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(2*harness.Deadline)))
	_, err := io.WriteString(c, text)
	must(t, err)
	return wire{c, bufio.NewReader(c)}
}

// answer reads an answer's head.
func (w wire) answer(t *testing.T) *http.Response {
	t.Helper()
	r, err := http.ReadResponse(w.Reader, nil)
	must(t, err)
	return r
}

// wantEnd waits until the other side has closed; what came before is skipped.
func (w wire) wantEnd(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, w); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
}

// wantLines reads a stream's body until n lines have this beginning.
func wantLines(t *testing.T, body *bufio.Scanner, n int, beginning string) {
	t.Helper()
	for n > 0 {
		if !body.Scan() {
			t.Fatalf("the stream ended before %d more lines with %q: %v", n, beginning, body.Err())
		}
		if strings.HasPrefix(body.Text(), beginning) {
			n--
		}
	}
}

func streamOf(channel string) string {
	return "GET /v1/events?channel=" + channel + " HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
}

// The time and the size of heads are bounded, and that of idle connections,
// and none of it cuts a stream.
func TestTimeoutsAndSizes(t *testing.T) {
	t.Parallel()
	onBothPaths(t, setup{replicas: 1, flags: []string{"--read-header-timeout", "500ms", "--idle-timeout", "500ms", "--max-header-bytes", "4096", "--heartbeat", "1s", "--write-timeout", "500ms"}}, func(t *testing.T, f *fixture) {
		g := f.replicas[0]
		ch := channel("hist")
		stream := dial(t, g, streamOf(ch))
		lines := bufio.NewScanner(stream.answer(t).Body)
		wantLines(t, lines, 1, "event: gateway.open")

		slow := dial(t, g, "GET /v1/events HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		stop := make(chan struct{})
		dripped := make(chan struct{})
		go func() {
			defer close(dripped)
			drip := time.NewTicker(100 * time.Millisecond)
			defer drip.Stop()
			for {
				select {
				case <-drip.C:
				case <-stop:
					return
				}
				if _, err := io.WriteString(slow.Conn, "x"); err != nil {
					return
				}
			}
		}()
		slow.wantEnd(t)
		close(stop)
		<-dripped
		dial(t, g, "").wantEnd(t)

		endless := dial(t, g, "GET /v1/events HTTP/1.1\r\nHost: x\r\n")
		for range 100 {
			if _, err := fmt.Fprintf(endless.Conn, "X-More: %s\r\n", strings.Repeat("x", 100)); err != nil {
				break // it has hung up
			}
		}
		if r := endless.answer(t); r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("an endless head is answered %s", r.Status)
		}
		endless.wantEnd(t)

		idle := dial(t, g, "GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n")
		if r := idle.answer(t); r.StatusCode != 404 || r.Close {
			t.Errorf("answered %s, closing %v", r.Status, r.Close)
		}
		idle.wantEnd(t)

		posted := dial(t, g, fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{\"channel\":%q}", 14+len(ch), ch))
		postedLines := bufio.NewScanner(posted.answer(t).Body)
		for _, l := range []*bufio.Scanner{lines, postedLines} {
			wantLines(t, l, 3, ":") // heartbeats, of which each is later than all timeouts
		}
		count(t, f, ch, 1, 1)
		for _, l := range []*bufio.Scanner{lines, postedLines} {
			wantLines(t, l, 1, "event: count")
		}
	})
}

// hidden is a request that must never be served: what it would publish is
// looked for in the channel's stream.
func hidden(ch string) string {
	token := harness.Token{Sub: "root", Publish: []string{"**"}}.Sign()
	return "POST /v1/channels/" + ch + "/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 6\r\n\r\nhidden"
}

func wantNothingPublished(t *testing.T, f *fixture, ch string) {
	t.Helper()
	n, err := f.db().XLen(t.Context(), "gw:"+ch).Result()
	must(t, err)
	if n != 0 {
		t.Errorf("%d hidden requests were served", n)
	}
}

// Requests that could be understood in two ways, or mean nothing, get a clear
// status, and nothing that hides in them is served.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	onBothPaths(t, setup{replicas: 1}, func(t *testing.T, f *fixture) {
		ch := channel("hist")
		secret := hidden(ch)
		chunked := "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + secret
		sized := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(secret), secret)
		post := "POST /v1/channels/hist:other/events HTTP/1.1\r\nHost: x\r\n"
		get := "GET /v1/events?channel=hist:a HTTP/1.1\r\nHost: x\r\n"
		path := func(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n" }
		for name, tt := range map[string]struct {
			text   string
			status int
			closes bool
		}{
			"length and encoding":           {post + "Content-Length: 5\r\n" + chunked, 400, true},
			"length and encoding of a GET":  {get + "Content-Length: 5\r\n" + chunked, 400, true},
			"two lengths":                   {post + "Content-Length: 5\r\n" + sized, 400, true},
			"two encodings":                 {post + "Transfer-Encoding: identity\r\n" + chunked, 501, true},
			"another encoding":              {post + "Transfer-Encoding: gzip, chunked\r\n\r\n" + secret, 501, true},
			"encoding in HTTP/1.0":          {strings.Replace(post, "1.1", "1.0", 1) + "Connection: keep-alive\r\n" + chunked, 400, true},
			"a chunk's size that is none":   {post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + secret, 401, true},
			"a folded line":                 {get + "X-A: b\r\n c\r\n\r\n", 400, true},
			"a bare LF":                     {get + "X-A: b\nX-C: d\r\n\r\n" + secret, 400, true},
			"a bare CR":                     {get + "X-A: b\rX-C: d\r\n\r\n" + secret, 400, true},
			"a space before the colon":      {get + "X-A : b\r\n\r\n" + secret, 400, true},
			"a zero byte in a value":        {get + "X-A: b\x00\r\n\r\n" + secret, 400, true},
			"a stream with a body":          {get + sized, 400, false},
			"a stream with a chunked body":  {get + chunked, 400, true},
			"a stream with a small body":    {get + "Content-Length: 1\r\n\r\nx", 400, false},
			"no host":                       {"GET /v1/events?channel=hist:a HTTP/1.1\r\n\r\n" + secret, 400, true},
			"two hosts":                     {get + "Host: y\r\n\r\n" + secret, 400, true},
			"a host that is none":           {"GET /v1/events?channel=hist:a HTTP/1.1\r\nHost: a b\r\n\r\n" + secret, 400, true},
			"another version":               {"GET /v1/events?channel=hist:a HTTP/3.0\r\nHost: x\r\n\r\n" + secret, 505, true},
			"no version":                    {"GET /v1/events?channel=hist:a\r\n\r\n" + secret, 400, true},
			"an absolute target":            {path("http://other.example/v1/nothing"), 404, false},
			"an absolute target of another": {path("ftp://other.example/v1/../v1/events?channel=hist:a"), 404, false},
			"all of the server":             {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, false},
			"a proxy's method":              {"CONNECT hist:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404, false},
			"a method in lower case":        {"get /v1/events?channel=hist:a HTTP/1.1\r\nHost: x\r\n\r\n", 405, false},
			"up and down":                   {path("/v1/../v1/events?channel=hist:a"), 404, false},
			"two slashes":                   {path("//v1/events?channel=hist:a"), 404, false},
			"two slashes within":            {path("/v1//events?channel=hist:a"), 404, false},
			"a slash at the end":            {path("/v1/events/?channel=hist:a"), 404, false},
			"encoded up":                    {path("/%2e%2e/v1/events?channel=hist:a"), 404, false},
			"an encoded path":               {path("/v1%2fevents?channel=hist:a"), 404, false},
			"a zero byte behind the path":   {path("/v1/events%00?channel=hist:a"), 404, false},
			"a zero byte in a channel":      {path("/v1/channels/hist:a%00b/events"), 400, false},
			"a line break in a channel":     {path("/v1/channels/hist:a%0d%0ab/events"), 400, false},
			"up in a channel":               {path("/v1/channels/..%2f..%2fv1%2fevents/events"), 403, false},
			"a slash in a channel":          {path("/v1/channels/secret%2Fb/events"), 403, false},
			"no channel":                    {path("/v1/channels//events"), 404, false},
			"a percent sign alone":          {path("/v1/channels/a%/events"), 400, true},
			"no UTF-8 in the query":         {path("/v1/events?channel=hist:%ff%fe"), 400, false},
			"half a letter in the query":    {path("/v1/events?channel=hist:%c3"), 400, false},
			"raw bytes in the query":        {path("/v1/events?channel=hist:\xff"), 400, false},
			"an overlong slash":             {path("/v1/channels/a%c0%afb/events"), 400, false},
		} {
			w := dial(t, f.replicas[0], tt.text)
			r := w.answer(t)
			body, err := io.ReadAll(r.Body)
			must(t, err)
			if r.StatusCode != tt.status || r.Close != tt.closes || len(body) == 0 {
				t.Errorf("%s: status %s, closing %v, want %d, %v: %.200s", name, r.Status, r.Close, tt.status, tt.closes, body)
			}
			if tt.closes {
				w.wantEnd(t)
				continue
			}
			// What is left of the body is not taken for a request.
			_, err = io.WriteString(w.Conn, "GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n")
			must(t, err)
			if r := w.answer(t); r.StatusCode != 404 {
				t.Errorf("%s: then answered %s", name, r.Status)
			}
		}
		wantNothingPublished(t, f, ch)
		wantMetric(t, f.replicas[0], "gateway_connections", "0")
	})
}

// What is sent behind a request for a stream is no request, not even when the
// stream has ended.
func TestPipelinedBehindAStream(t *testing.T) {
	t.Parallel()
	onBothPaths(t, setup{replicas: 1, flags: []string{"--drain-time", "500ms"}}, func(t *testing.T, f *fixture) {
		ch, secret := channel("hist"), channel("hist")
		body := fmt.Sprintf("{\"channel\":%q}", ch)
		for _, request := range []string{
			streamOf(ch), fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
			fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body),
		} {
			// In the same segment, and later.
			w := dial(t, f.replicas[0], request+hidden(secret))
			r := w.answer(t)
			if r.StatusCode != 200 || !r.Close {
				t.Fatalf("answered %s, closing %v", r.Status, r.Close)
			}
			_, err := io.WriteString(w.Conn, hidden(secret))
			must(t, err)
			lines := bufio.NewScanner(r.Body)
			wantLines(t, lines, 1, "event: gateway.open")
			fcall(t, f, ch, harness.Counted(1))
			wantLines(t, lines, 1, "event: count")
			defer w.wantEnd(t)
		}
		code, err := f.replicas[0].Process().Terminate()
		must(t, err)
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
		wantNothingPublished(t, f, secret)
	})
}

// Over TLS nobody looks at the heads, so what stands behind a chunked body,
// with a length beside it or not, is never served.
func TestNothingHidesBehindTLS(t *testing.T) {
	t.Parallel()
	f, c := secured(t)
	secret := channel("hist")
	for _, head := range []string{
		"POST /v1/channels/hist:other/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST /v1/channels/hist:other/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		conn, err := tls.Dial("tcp", f.replicas[0].Addr, c.Client())
		must(t, err)
		w := begin(t, conn, head+hidden(secret))
		if r := w.answer(t); r.StatusCode != 401 || !r.Close {
			t.Errorf("answered %s, closing %v", r.Status, r.Close)
		}
		w.wantEnd(t)
	}
	wantNothingPublished(t, f, secret)
}
