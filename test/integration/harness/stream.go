package harness

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/tmaxmax/go-sse"
)

// Subscribe is a request for a stream.
type Subscribe struct {
	Channels []string
	// From is the cursor to resume from, sent as Last-Event-ID.
	From string
	// Query holds further parameters.
	Query url.Values
	// Header holds further request headers.
	Header http.Header
	// Body, if set, makes the request a POST with this JSON and no query.
	Body any
	// ReceiveBuffer is the size of the socket's receive buffer. If zero, the
	// system decides.
	ReceiveBuffer int
	// Source is the address that the connection comes from. If empty, the system
	// decides.
	Source string
	// TLS is how https is spoken. If nil, as by default.
	TLS *tls.Config
	// HTTP2 asks for HTTP/2, which takes TLS.
	HTTP2 bool
	// Paused begins without reading anything behind the response's header.
	Paused bool
}

// Stream is one connection to one replica.
type Stream struct {
	Record

	Status int
	Header http.Header
	Proto  string // such as HTTP/1.1
	// Problem is the body of any answer but a stream.
	Problem string
	// Raw holds the stream's bytes as they came.
	Raw *Log

	gate   *gate
	cancel context.CancelFunc
	done   chan struct{}
}

// Open connects to a replica and returns as soon as it has answered.
func Open(base string, sub Subscribe) (*Stream, error) {
	ctx, cancel := context.WithCancel(context.Background())
	req, err := sub.request(ctx, base)
	if err != nil {
		cancel()
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives:  true,
		DisableCompression: true,
		TLSClientConfig:    sub.TLS.Clone(),
		ForceAttemptHTTP2:  sub.HTTP2,
		DialContext:        (&net.Dialer{Control: receiveBuffer(sub.ReceiveBuffer), LocalAddr: sub.localAddr()}).DialContext,
	}}
	// The answer has a deadline, the stream has none.
	late := time.AfterFunc(Deadline, cancel)
	resp, err := client.Do(req)
	late.Stop()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("subscribe to %q: %w", sub.Channels, err)
	}
	s := &Stream{
		Status: resp.StatusCode, Header: resp.Header, Proto: resp.Proto,
		Raw: &Log{}, gate: newGate(), cancel: cancel, done: make(chan struct{}),
	}
	if resp.StatusCode != http.StatusOK {
		defer close(s.done)
		defer cancel()
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		s.Problem = string(body)
		return s, err
	}
	s.gate.set(sub.Paused)
	go s.read(resp.Body)
	return s, nil
}

func (sub Subscribe) request(ctx context.Context, base string) (*http.Request, error) {
	var req *http.Request
	var err error
	if sub.Body != nil {
		var body []byte
		if body, err = json.Marshal(sub.Body); err != nil {
			return nil, err
		}
		req, err = http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/events", bytes.NewReader(body))
	} else {
		query := url.Values{"channel": sub.Channels}
		for name, values := range sub.Query {
			query[name] = values
		}
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/events?"+query.Encode(), nil)
	}
	if err != nil {
		return nil, err
	}
	if sub.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "text/event-stream")
	if sub.From != "" {
		req.Header.Set("Last-Event-ID", sub.From)
	}
	for name, values := range sub.Header {
		req.Header[name] = values
	}
	return req, nil
}

func (sub Subscribe) localAddr() net.Addr {
	if sub.Source == "" {
		return nil // not a nil *net.TCPAddr, which is an address
	}
	return &net.TCPAddr{IP: net.ParseIP(sub.Source)}
}

func receiveBuffer(size int) func(network, address string, c syscall.RawConn) error {
	if size == 0 {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
		})
		if err == nil {
			err = failed
		}
		return err
	}
}

func (s *Stream) read(body io.ReadCloser) {
	defer close(s.done)
	defer body.Close()
	in := &blocks{body: body, record: &s.Record, gate: s.gate, raw: s.Raw}
	for e, err := range sse.Read(in, &sse.ReadConfig{MaxEventSize: 64 << 20}) {
		if err != nil {
			s.change(func() { s.endErr = err })
			break
		}
		s.change(func() {
			s.cursor = e.LastEventID
			// Without data a browser dispatches nothing.
			if e.Data != "" {
				name := e.Type
				if name == "" {
					name = "message"
				}
				s.events = append(s.events, newEvent(e.LastEventID, name, e.Data))
			}
		})
	}
	s.change(func() { s.ended = true })
}

// Pause stops reading: the next blocks stay in the sockets.
func (s *Stream) Pause() { s.gate.set(true) }

// Resume reads on.
func (s *Stream) Resume() { s.gate.set(false) }

// Close hangs up and waits until nothing is recorded any more.
func (s *Stream) Close() {
	s.cancel()
	s.gate.set(false)
	<-s.done
}
