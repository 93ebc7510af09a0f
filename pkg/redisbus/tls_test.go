package redisbus

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// authority makes certificates for a test, as PEM files.
type authority struct {
	t    *testing.T
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.file, _ = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue signs a certificate with the authority's key; the first with its own.
func (a *authority) issue(name string, template *x509.Certificate) (certFile, keyFile string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(crand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		a.key = key
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", keyDER)
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file
}

// server returns arguments of a redis-server that speaks TLS alone.
func (a *authority) server(port int, clients string) []string {
	a.t.Helper()
	cert, key := a.issue("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	return []string{
		"--port", "0", "--tls-port", strconv.Itoa(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", a.file, "--tls-auth-clients", clients,
		"--tls-replication", "yes", "--tls-cluster", "yes", "--save", "", "--dir", a.t.TempDir(),
	}
}

func (a *authority) client() TLS {
	cert, key := a.issue("client", &x509.Certificate{})
	return TLS{CAFile: a.file, CertFile: cert, KeyFile: key}
}

// with has the test's own client of a server use these files.
func (f TLS) with(t *testing.T) func(*redis.Options) {
	config, err := f.load()
	if err != nil {
		t.Fatal(err)
	}
	return func(o *redis.Options) { o.TLSConfig = config }
}

// publishOnce publishes an event, and does not try for long.
func publishOnce(t *testing.T, url string, files TLS) error {
	t.Helper()
	p, err := NewPublisher(PublisherOptions{URL: url, TLS: files, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, err = p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"})
	return err
}

func wantWorks(t *testing.T, url string, files TLS) {
	t.Helper()
	b := startBusAt(t, url, func(o *Options) { o.TLS = files })
	b.Subscribe("orders", false)
	b.wait("confirmed orders")
	if err := publishOnce(t, url, files); err != nil {
		t.Fatal(err)
	}
	b.wait("announced orders x")
	settled(t, b)
	if err := b.client.Publish(t.Context(), "orders", "plain").Err(); err != nil {
		t.Fatal(err)
	}
	b.wait("announced orders plain")
}

func TestSingleWithTLS(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	files := a.client()
	for _, clients := range []string{"no", "yes"} {
		port := freePort(t)
		s := runServerFor(t, port, files.with(t), a.server(port, clients)...)
		url := "rediss://" + s.addr
		wantWorks(t, url, files)
		for _, tt := range []struct {
			name, url string
			files     TLS
			says      string
		}{
			{"the system's roots", url, TLS{}, "unknown authority"},
			{"another authority", url, TLS{CAFile: other.file}, "unknown authority"},
			{"another host name", "rediss://localhost:" + strconv.Itoa(port), files, "localhost"},
			{"no TLS", "redis://" + s.addr, TLS{}, ""},
		} {
			if err := publishOnce(t, tt.url, tt.files); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("with %s: %v, want an error that says %q", tt.name, err, tt.says)
			}
		}
		err := publishOnce(t, url, TLS{CAFile: a.file})
		if (err != nil) != (clients == "yes") {
			t.Errorf("without a client certificate, where the server asks for one: %s: %v", clients, err)
		}
	}
}

// Each node is verified by its own address, not by that of the first.
func TestClusterWithTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	files := a.client()
	c := &testCluster{t: t}
	for range 3 {
		port := freePort(t)
		s := runServerFor(t, port, files.with(t), append(a.server(port, "yes"), "--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-require-full-coverage", "no")...)
		s.id = s.do("cluster", "myid").(string)
		c.nodes = append(c.nodes, s)
	}
	c.form()
	wantWorks(t, "rediss"+strings.TrimPrefix(c.url(), "redis"), files)
}

func TestSentinelWithTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	files := a.client()
	port := freePort(t)
	runServerFor(t, port, files.with(t), a.server(port, "yes")...)
	at := freePort(t)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor m 127.0.0.1 %d 1\n", port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	watcher := runServerFor(t, at, files.with(t), append([]string{file, "--sentinel"}, a.server(at, "yes")...)...)
	eventually(t, "the Sentinel knows the master", func() bool {
		return watcher.db.Do(context.Background(), "sentinel", "ckquorum", "m").Err() == nil
	})
	wantWorks(t, "rediss+sentinel://"+watcher.addr+"/m", files)
}

func TestTLSFilesThatCannotBeUsed(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	files, foreign := a.client(), other.client()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		url   string
		files TLS
		says  string
	}{
		{"redis://h:1", TLS{CAFile: a.file}, "rediss"},
		{"redis+cluster://h:1", files, "rediss"},
		{"rediss://h:1", TLS{CAFile: "/nowhere.pem"}, "/nowhere.pem"},
		{"rediss://h:1", TLS{CAFile: empty}, "CERTIFICATE"},
		{"rediss://h:1", TLS{CAFile: files.KeyFile}, "CERTIFICATE"},
		{"rediss+sentinel://h:1/m", TLS{CertFile: files.CertFile}, "or neither"},
		{"rediss+cluster://h:1", TLS{KeyFile: files.KeyFile}, "or neither"},
		{"rediss://h:1", TLS{CertFile: files.CertFile, KeyFile: foreign.KeyFile}, "private key does not match"},
		{"rediss://h:1", TLS{CertFile: files.CertFile, KeyFile: empty}, empty},
		{"what://h:1", TLS{}, "scheme"},
	} {
		if err := CheckTLS(tt.url, tt.files); err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s with %+v: %v, want one line that says %q", tt.url, tt.files, err, tt.says)
		}
	}
	if err := CheckTLS("rediss://h:1", files); err != nil {
		t.Error(err)
	}
}
