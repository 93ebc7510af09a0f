package load

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// notes is a sink that writes down what it gets.
type notes struct{ lines []string }

func (n *notes) event(m Marker) { n.lines = append(n.lines, fmt.Sprintf("%d/%d", m.Channel, m.Seq)) }
func (n *notes) gap()           { n.lines = append(n.lines, "gap") }
func (n *notes) String() string { return strings.Join(n.lines, " ") }

func mark(seq uint64) string {
	return string(Marker{Run: 1, Channel: 7, Seq: seq, Sent: 1}.append(nil))
}

// body has every kind of line, and an event that was cut at the end.
var body = ":\n\nid: open\nretry: 5\nevent: gateway.open\ndata: {}\n\n" +
	"id: a\nevent: load\ndata: {" + mark(1) + "}\n\n" +
	"id: b\r\ndata:" + mark(2) + "\r\n\r\n" +
	"event: gateway.gap\nid: c\ndata: {}\n\n" +
	"data: one\ndata: " + mark(3) + "\ndata: three\n\n" +
	"id: d\ndata: " + mark(4) + "\n"

const wantBody = "7/1 7/2 gap 7/3"

// chunked is body in chunks of n bytes.
func chunked(body string, n int) string {
	var b strings.Builder
	for len(body) > 0 {
		part := body[:min(n, len(body))]
		body = body[len(part):]
		fmt.Fprintf(&b, "%X;ext=1\r\n%s\r\n", len(part), part)
	}
	return b.String()
}

func responses() map[string]string {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	all := map[string]string{
		"until the end":  ok + "Connection: close\r\n\r\n" + body,
		"with a length":  ok + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body,
		"one long chunk": ok + "transfer-encoding: Chunked\r\n\r\n" + chunked(body, len(body)) + "0\r\nTrailer: x\r\n\r\n",
	}
	for _, n := range []int{1, 2, 7, 50} {
		all[fmt.Sprintf("chunks of %d", n)] = ok + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body, n) + "0\r\n\r\n"
	}
	return all
}

// Wherever the network cuts a response, the same comes out.
func TestReaderWithPiecesOfAnySize(t *testing.T) {
	for name, response := range responses() {
		ends := !strings.Contains(response, "close")
		for size := 1; size <= 40; size++ {
			var r reader
			var got notes
			var err error
			for rest := response; len(rest) > 0 && err == nil; {
				n := min(size, len(rest))
				err = r.feed([]byte(rest[:n]), &got)
				rest = rest[n:]
			}
			if got.String() != wantBody || string(r.lastID) != "c" || errors.Is(err, errEnded) != ends {
				t.Fatalf("%s, pieces of %d: %q, last id %q, %v", name, size, &got, r.lastID, err)
			}
		}
		for at := range len(response) {
			var r reader
			var got notes
			if err := r.feed([]byte(response[:at]), &got); err != nil {
				t.Fatalf("%s, cut at %d: %v", name, at, err)
			}
			err := r.feed([]byte(response[at:]), &got)
			if got.String() != wantBody || errors.Is(err, errEnded) != ends {
				t.Fatalf("%s, cut at %d: %q, %v", name, at, &got, err)
			}
		}
	}
}

func TestReaderForgetsTheEventThatWasCut(t *testing.T) {
	r := reader{}
	var got notes
	head := "HTTP/1.1 200 OK\r\n\r\n"
	if err := r.feed([]byte(head+"id: a\ndata: "+mark(1)+"\n\nid: b\nevent: gateway.gap\ndata: "+mark(2)+"\nda"), &got); err != nil {
		t.Fatal(err)
	}
	r.again()
	if string(r.lastID) != "a" {
		t.Errorf("goes on after %q, not after the last whole event", r.lastID)
	}
	if err := r.feed([]byte(head+"\nid: b\ndata: "+mark(2)+"\n\n"), &got); err != nil {
		t.Fatal(err)
	}
	if got.String() != "7/1 7/2" {
		t.Errorf("got %q", &got)
	}
}

func TestReaderRefuses(t *testing.T) {
	for name, response := range map[string]string{
		"another protocol":     "SSH-2.0-x\r\n\r\n",
		"a bad status":         "HTTP/1.1 abc\r\n\r\n",
		"a bad chunk":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
		"a chunk without end":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
		"a negative chunk":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
		"a bad length":         "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
		"a head without end":   "HTTP/1.1 200 OK\r\n" + strings.Repeat("a", 2*maxHead),
		"more than the length": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
	} {
		var r reader
		if err := r.feed([]byte(response), &notes{}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestReaderTakesNoEventsFromAnError(t *testing.T) {
	var r reader
	var got notes
	err := r.feed([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 20\r\n\r\n\ndata: "+mark(1)+"\n\n"), &got)
	if r.status != 403 || len(got.lines) > 0 || (err != nil && !errors.Is(err, errEnded)) {
		t.Errorf("status %d, %q, %v", r.status, &got, err)
	}
}

func FuzzReader(f *testing.F) {
	for _, response := range responses() {
		f.Add([]byte(response), 10)
	}
	f.Fuzz(func(t *testing.T, response []byte, at int) {
		at = max(0, min(at, len(response)))
		var whole, parts reader
		var one, two notes
		wholeErr := whole.feed(response, &one)
		err := parts.feed(response[:at], &two)
		if err == nil && at < len(response) {
			err = parts.feed(response[at:], &two)
		}
		if one.String() != two.String() || (err == nil) != (wholeErr == nil) && !errors.Is(err, errEnded) {
			t.Errorf("whole: %q %v; cut at %d: %q %v", &one, wholeErr, at, &two, err)
		}
	})
}

// What reading costs bounds what can be measured.
func BenchmarkReader(b *testing.B) {
	var r reader
	if err := r.feed([]byte("HTTP/1.1 200 OK\r\n\r\n"), discard{}); err != nil {
		b.Fatal(err)
	}
	event := "id: 1hdj8BXHNtKuf3580AA\nevent: load\ndata: " + string(Marker{Run: 1 << 60, Channel: 1, Seq: 1 << 20, Sent: 1 << 40}.AppendPayload(nil, 200)) + "\n\n"
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	bytes := []byte(event)
	for b.Loop() {
		if err := r.feed(bytes, discard{}); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) event(Marker) {}
func (discard) gap()         {}
