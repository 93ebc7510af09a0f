package integration_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// secured gives a test a replica that speaks TLS.
func secured(t *testing.T, flags ...string) (*fixture, *harness.Certificate) {
	t.Helper()
	c, err := harness.NewCertificate(t.TempDir(), time.Now().Add(24*time.Hour))
	must(t, err)
	return own(t, setup{replicas: 1, flags: append([]string{"--tls-cert-file", c.CertFile, "--tls-key-file", c.KeyFile}, flags...)}), c
}

// Streams over TLS are what they are without: they resume, hear heartbeats, end
// in order, and one that does not read is given up.
func TestStreamsOverTLS(t *testing.T) {
	t.Parallel()
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, c := secured(t, "--heartbeat", "1s", "--write-timeout", "1s", "--drain-time", "1s")
			base := "https://" + f.replicas[0].Addr
			over := func(sub harness.Subscribe) harness.Subscribe {
				sub.TLS, sub.HTTP2 = c.Client(), http2
				return sub
			}
			ch := channel("many")
			s := open(t, base, over(on(ch)))
			if s.Proto != name {
				t.Fatalf("speaks %s", s.Proto)
			}
			wantMetric(t, f.replicas[0], "gateway_connections_loop", "0")
			wantMetric(t, f.replicas[0], "gateway_connections", "1")
			count(t, f, ch, 1, 3)
			cursor := waitNumber(t, s, ch, 3).Cursor
			s.Close()
			count(t, f, ch, 4, 6)
			s = open(t, base, over(from(cursor, ch)))
			waitNumber(t, s, ch, 6)
			wantNumbers(t, s.Now().Of(ch), 4, 6)
			wait(t, s, "two heartbeats", func(v harness.View) bool { return v.Comments >= 2 })

			lazy := channel("many")
			stuck := open(t, base, over(harness.Subscribe{Channels: []string{lazy}, ReceiveBuffer: 8 << 10}))
			stuck.Pause()
			for n := 1; n <= lagEvents; n++ {
				fcall(t, f, lazy, bulky(n))
			}
			must(t, harness.Until("the stream that does not read ends", harness.Deadline, func() error {
				return moved(f.replicas[0], `gateway_streams_closed_total{reason="write"}`)
			}))
			// The others have noticed nothing.
			count(t, f, ch, 7, 7)
			waitNumber(t, s, ch, 7)

			code, err := f.replicas[0].Process().Terminate()
			must(t, err)
			if code != 0 {
				t.Errorf("exit code %d", code)
			}
			v := waitEnd(t, s, harness.Deadline)
			if e := wantClose(t, v, true); e.Reason != "draining" || v.EndErr != nil {
				t.Errorf("ended with %s, %v", e.Data, v.EndErr)
			}
		})
	}
}

// A renewed certificate is served without a restart, and open streams stay.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	f, c := secured(t)
	g := f.replicas[0]
	presented := func() int64 {
		conn, err := tls.Dial("tcp", g.Addr, c.Client())
		must(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].NotAfter.Unix()
	}
	expiry := func() int64 {
		text, err := metric(g, "gateway_tls_certificate_expiry_seconds")
		must(t, err)
		value, err := strconv.ParseFloat(text, 64)
		must(t, err)
		return int64(value)
	}
	first := presented()
	if got := expiry(); got != first {
		t.Errorf("the metric says %d, presented is %d", got, first)
	}
	ch := channel("hist")
	s := open(t, "https://"+g.Addr, harness.Subscribe{Channels: []string{ch}, TLS: c.Client(), HTTP2: true})

	until := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	must(t, c.Renew(until))
	must(t, g.Process().Signal(syscall.SIGHUP))
	must(t, harness.Until("the new certificate is served", harness.Deadline, func() error {
		if got := presented(); got != until.Unix() || expiry() != got {
			return fmt.Errorf("presented is %d, the metric says %d", got, expiry())
		}
		return nil
	}))
	must(t, os.WriteFile(c.KeyFile, []byte("nonsense"), 0o600))
	must(t, g.Process().Signal(syscall.SIGHUP))
	must(t, harness.Until("the bad one is logged", harness.Deadline, func() error {
		if !strings.Contains(g.Log.String(), "the new TLS certificate is not used") {
			return fmt.Errorf("the log is %s", g.Log)
		}
		return nil
	}))
	if got := presented(); got != until.Unix() {
		t.Errorf("presented is %d, want the last good one of %d", got, until.Unix())
	}
	count(t, f, ch, 1, 1)
	waitNumber(t, s, ch, 1)
	stillOpen(t, s)
}

// What is not TLS, is too old or never ends its handshake does not get far, and
// holds up nobody.
func TestBadHandshakes(t *testing.T) {
	t.Parallel()
	f, c := secured(t, "--read-header-timeout", "1s")
	addr := f.replicas[0].Addr
	old := c.Client()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if conn, err := tls.Dial("tcp", addr, old); err == nil {
		conn.Close()
		t.Error("TLS 1.1 is accepted")
	}
	if a, err := tryAsk(t.Context(), http.MethodGet, "http://"+addr+"/v1/events", "", ""); err != nil || a.status != 400 {
		t.Errorf("plain HTTP: %d, %v, want 400", a.status, err)
	}
	var silent []net.Conn
	for i := range 200 {
		conn, err := net.Dial("tcp", addr)
		must(t, err)
		defer conn.Close()
		if i%2 == 0 { // a part of a hello
			_, err = conn.Write([]byte{22, 3, 1, 2})
			must(t, err)
		}
		silent = append(silent, conn)
	}
	ch := channel("hist")
	s := open(t, "https://"+addr, harness.Subscribe{Channels: []string{ch}, TLS: c.Client()})
	for _, conn := range silent {
		must(t, conn.SetReadDeadline(time.Now().Add(harness.Deadline)))
		if _, err := io.ReadAll(conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatal("a handshake that does not end is not ended")
		}
	}
	count(t, f, ch, 1, 1)
	waitNumber(t, s, ch, 1)
	stillOpen(t, s)
}

// Wrong files stop the start with a line that names them.
func TestWrongCertificateFiles(t *testing.T) {
	t.Parallel()
	c, err := harness.NewCertificate(t.TempDir(), time.Now().Add(time.Hour))
	must(t, err)
	other, err := harness.NewCertificate(t.TempDir(), time.Now().Add(-time.Minute))
	must(t, err)
	config := writeConfig(t, "channels: [{pattern: a, subscribe: public}]\n")
	for _, tt := range []struct{ name, cert, key, want string }{
		{"missing", c.CertFile + "x", c.KeyFile, `tls.crtx" cannot be read: no such file`},
		{"another key", c.CertFile, other.KeyFile, "private key does not match"},
		{"one file", c.CertFile, "", "set without tls-key-file"},
	} {
		for _, cmd := range [][]string{nil, {"check-config"}} {
			args := append(cmd, "--redis-url", "redis://127.0.0.1:1", "--addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0", "--config", config, "--tls-cert-file", tt.cert)
			if tt.key != "" {
				args = append(args, "--tls-key-file", tt.key)
			}
			_, err := command(t, nil, args...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "exit code 2") {
				t.Errorf("%s %v: %v, want exit code 2 with %q", tt.name, cmd, err, tt.want)
			}
		}
	}
	expired := own(t, setup{replicas: 1, flags: []string{"--tls-cert-file", other.CertFile, "--tls-key-file", other.KeyFile}})
	if !strings.Contains(expired.replicas[0].Log.String(), "has expired at") {
		t.Errorf("an expired certificate is no warning: %s", expired.replicas[0].Log)
	}
}
