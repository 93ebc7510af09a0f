package main

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"realtime-gateway/internal/config"
)

// pipes is a listener of one connection in memory.
type pipes struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conn:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// The frames of RFC 9113 that the test knows.
const (
	frameHeaders  = 1
	frameSettings = 4
	framePing     = 6
	flagAck       = 1
)

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	head := []byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[5:], stream)
	return append(head, payload...)
}

// An HTTP/2 client that is gone without a word is noticed by a ping, and one
// that answers keeps its stream.
func TestDeadHTTP2Peers(t *testing.T) {
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	certificates := certificate.TLS.Certificates
	certificate.Close()
	for name, alive := range map[string]bool{"gone": false, "alive": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const patience = 10 * time.Minute
				g := &gateway{cfg: &config.Config{IdleTimeout: time.Second, ReadHeaderTimeout: time.Second, WriteTimeout: time.Second}, log: slog.New(slog.DiscardHandler)}
				began, ended := make(chan struct{}), make(chan struct{})
				s := g.server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(ended)
					_ = http.NewResponseController(w).Flush()
					close(began)
					<-r.Context().Done()
				}))
				s.TLSConfig = &tls.Config{Certificates: certificates}
				l := &pipes{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
				served := make(chan error, 1)
				go func() { served <- s.ServeTLS(l, "", "") }()
				here, there := net.Pipe()
				l.conn <- there
				client := tls.Client(here, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
				request := []byte{0x82, 0x87, 0x84, 0x41, 1, 'x'} // GET https / with the authority x, by RFC 7541
				read := make(chan struct{})
				answers := make(chan []byte, 100)
				go func() {
					defer close(read)
					defer close(answers)
					for {
						head := make([]byte, 9)
						if _, err := io.ReadFull(client, head); err != nil {
							return
						}
						payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
						if _, err := io.ReadFull(client, payload); err != nil {
							return
						}
						if head[3] == framePing && head[4]&flagAck == 0 && alive {
							answers <- frame(framePing, flagAck, 0, payload)
						}
					}
				}()
				go func() {
					_, _ = client.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
					_, _ = client.Write(frame(frameSettings, 0, 0, nil))
					_, _ = client.Write(frame(frameSettings, flagAck, 0, nil))
					_, _ = client.Write(frame(frameHeaders, 5, 1, request))
					for answer := range answers {
						_, _ = client.Write(answer)
					}
				}()
				<-began
				timeout := time.NewTimer(patience)
				defer timeout.Stop()
				begin := time.Now()
				select {
				case <-ended:
					if took := time.Since(begin); alive || took > silence+pingTimeout+time.Second {
						t.Errorf("the stream ended after %v", took)
					}
				case <-timeout.C:
					if !alive {
						t.Errorf("the stream is still open after %v", patience)
					}
				}
				_ = s.Close()
				_ = client.Close()
				<-read
				<-ended
				<-served
			})
		})
	}
}
