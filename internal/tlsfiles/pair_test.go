package tlsfiles

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// issue returns a certificate for a name, signed by itself, and its key.
func issue(t *testing.T, name string, from, until time.Time) contents {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: from, NotAfter: until}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return contents{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
}

func good(t *testing.T, name string) contents {
	return issue(t, name, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
}

// files are a pair's, and what is logged about it.
type files struct {
	t         *testing.T
	dir       string
	cert, key string
	log       logBuffer
}

// logBuffer is what was logged. Safe for concurrent use.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newFiles(t *testing.T, c contents) *files {
	dir := t.TempDir()
	f := &files{t: t, dir: dir, cert: filepath.Join(dir, "live", "tls.crt"), key: filepath.Join(dir, "live", "tls.key")}
	f.publish("1", c)
	return f
}

// publish replaces both files at once, as Kubernetes does it.
func (f *files) publish(version string, c contents) {
	f.t.Helper()
	next := filepath.Join(f.dir, version)
	for _, err := range []error{
		os.Mkdir(next, 0o700), os.WriteFile(filepath.Join(next, "tls.crt"), c.cert, 0o600), os.WriteFile(filepath.Join(next, "tls.key"), c.key, 0o600),
		os.Symlink(next, filepath.Join(f.dir, "new")), os.Rename(filepath.Join(f.dir, "new"), filepath.Join(f.dir, "live")),
	} {
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *files) load() (*Pair, error) {
	return Load(f.cert, f.key, slog.New(slog.NewTextHandler(&f.log, nil)))
}

func (f *files) logged(want string) int { return strings.Count(f.log.String(), want) }

func served(t *testing.T, p *Pair) string {
	t.Helper()
	c, err := p.Config().GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.DNSNames[0]
}

func TestLoadRefuses(t *testing.T) {
	a, b := good(t, "a"), good(t, "b")
	for name, tt := range map[string]struct {
		change func(*files)
		want   string
	}{
		"no certificate":        {func(f *files) { os.Remove(f.cert) }, "tls.crt\" cannot be read: no such file"},
		"no key":                {func(f *files) { os.Remove(f.key) }, "tls.key\" cannot be read: no such file"},
		"a key of another":      {func(f *files) { os.WriteFile(f.key, b.key, 0o600) }, "private key does not match public key"},
		"no PEM":                {func(f *files) { os.WriteFile(f.cert, []byte("hello"), 0o600) }, "failed to find any PEM data in certificate input"},
		"certificate as key":    {func(f *files) { os.WriteFile(f.key, a.cert, 0o600) }, "found a certificate rather than a key"},
		"empty key":             {func(f *files) { os.WriteFile(f.key, nil, 0o600) }, "failed to find any PEM data in key input"},
		"a directory as a file": {func(f *files) { f.cert = f.dir }, "is a directory"},
	} {
		f := newFiles(t, a)
		tt.change(f)
		_, err := f.load()
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", name, err, tt.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	now := time.Now()
	for want, c := range map[string]contents{
		"has expired at":      issue(t, "a", now.Add(-2*time.Hour), now.Add(-time.Hour)),
		"is not valid before": issue(t, "a", now.Add(time.Hour), now.Add(2*time.Hour)),
		"":                    good(t, "a"),
	} {
		f := newFiles(t, c)
		p, err := f.load()
		if err != nil {
			t.Fatal(err)
		}
		if warning := p.Warning(now); !strings.Contains(warning, want) || (want == "") != (warning == "") {
			t.Errorf("warns %q, want %q", warning, want)
		}
		if f.logged("level=WARN") != min(len(want), 1) {
			t.Errorf("logged %s", &f.log)
		}
	}
}

// A renewed pair is taken over, a bad one is not, and is logged once.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFiles(t, good(t, "a"))
		p, err := f.load()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		now := make(chan os.Signal)
		go func() { ended <- p.Run(ctx, now) }()
		wait := func() {
			time.Sleep(interval)
			synctest.Wait()
		}
		want := func(name string, errors int) {
			t.Helper()
			if got := served(t, p); got != name {
				t.Errorf("serves %q, want %q", got, name)
			}
			if n := f.logged("level=ERROR"); n != errors {
				t.Errorf("logged %d errors, want %d:\n%s", n, errors, &f.log)
			}
		}
		wait()
		want("a", 0)
		b := good(t, "b")
		f.publish("2", b)
		want("a", 0)
		wait()
		want("b", 0)
		if leaf := p.current.Load().Leaf; !p.Expires().Equal(leaf.NotAfter) {
			t.Errorf("expires at %v, want %v", p.Expires(), leaf.NotAfter)
		}
		f.publish("3", contents{good(t, "c").cert, b.key})
		wait()
		wait()
		want("b", 1)
		os.Remove(f.key)
		wait()
		wait()
		want("b", 2)
		d := good(t, "d")
		f.publish("4", d)
		now <- syscall.SIGHUP
		synctest.Wait()
		want("d", 2)
		// The same again is no news.
		lines := f.logged("\n")
		f.publish("5", d)
		wait()
		if n := f.logged("\n"); n != lines {
			t.Errorf("logged %s", &f.log)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
