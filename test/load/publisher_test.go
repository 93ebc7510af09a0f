package load

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

func newPublisher(t *testing.T, addr, command string) *Publisher {
	t.Helper()
	p, err := NewPublisher(addr, command, []string{"a:0", "a:1"}, 120, NewLedger(2))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // its server may have ended first
	return p
}

func TestPublisherSendsTheWholeCommand(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newPublisher(t, l.Addr().String(), FunctionCommand+" TTL 5")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, channel := range []int{1, 1, 0} {
		if err := p.Publish(channel); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	line := func() string {
		text, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(text, "\r\n")
	}
	ids := map[string]bool{}
	for i, want := range []Marker{{Channel: 1, Seq: 1}, {Channel: 1, Seq: 2}, {Channel: 0, Seq: 1}} {
		var args []string
		if n := line(); n != "*9" {
			t.Fatalf("command %d begins with %q", i, n)
		}
		for range 9 {
			line() // the length
			args = append(args, line())
		}
		got, ok := findMarker([]byte(args[4]))
		if !ok || got.Channel != want.Channel || got.Seq != want.Seq || len(args[4]) != 120 {
			t.Errorf("command %d has the payload %q", i, args[4])
		}
		ids[args[3]+" "+args[6]] = true
		args[4], args[6] = "", ""
		channel := []string{"gw:a:0", "gw:a:1"}[want.Channel]
		if text := strings.Join(args, " "); text != "FCALL gateway_publish 1 "+channel+"  EVENTID  TTL 5" {
			t.Errorf("command %d is %q", i, text)
		}
	}
	if len(ids) != 3 {
		t.Errorf("the ids of a channel repeat: %v", ids)
	}
}

func TestPublisherCountsAnswers(t *testing.T) {
	server := miniredis.RunT(t)
	for command, refused := range map[string]uint64{PublishCommand: 0, "NOTHING {payload}": 3} {
		p := newPublisher(t, server.Addr(), command)
		for range 3 {
			if err := p.Publish(0); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(15 * time.Second); p.Acked() < 3 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		n, first := p.Errors()
		if p.Acked() != 3 || n != refused || (first != nil) != (refused > 0) {
			t.Errorf("%s: %d answers, %d refused, %v", command, p.Acked(), n, first)
		}
	}
	if _, err := NewPublisher(server.Addr(), "PUBLISH {channel} x", []string{"a"}, 100, NewLedger(1)); err == nil {
		t.Error("a command without payload is accepted")
	}
}

func TestReadAnswer(t *testing.T) {
	for text, refused := range map[string]string{
		"+OK\r\n": "", ":12\r\n": "", "$5\r\na\r\nbc\r\n": "", "$-1\r\n": "", "$0\r\n\r\n": "", "*2\r\n:1\r\n$1\r\na\r\n": "", "*-1\r\n": "",
		"-ERR no\r\n": "ERR no",
	} {
		in := bufio.NewReader(strings.NewReader(text + "+NEXT\r\n"))
		got, err := readAnswer(in)
		if err != nil || (got == nil) != (refused == "") || got != nil && got.Error() != refused {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		if next, _ := in.ReadString('\n'); next != "+NEXT\r\n" {
			t.Errorf("%q is followed by %q", text, next)
		}
	}
	for _, text := range []string{"", "x\r\n", "$a\r\n", "?1\r\n", "$5\r\nab"} {
		if _, err := readAnswer(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%q is an answer", text)
		}
	}
}
