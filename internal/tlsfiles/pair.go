package tlsfiles

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// interval is how often the files are looked at.
const interval = 10 * time.Second

// Pair is a certificate with its key, as the files last gave a good one. Safe
// for concurrent use but for Run, of which there is one.
type Pair struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]
	seen              contents // what was last looked at, good or bad; belongs to Load, then to Run
}

type contents struct{ cert, key []byte }

func (c contents) equal(o contents) bool {
	return bytes.Equal(c.cert, o.cert) && bytes.Equal(c.key, o.key)
}

// Load reads the pair. The error names the file at fault and never shows any of
// the key. A certificate that has expired, or is not valid yet, is used with a
// warning to log. Log is required.
func Load(certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, log: log}
	now, err := p.read()
	if err != nil {
		return nil, err
	}
	certificate, err := p.parse(now)
	if err != nil {
		return nil, err
	}
	p.use(now, certificate)
	return p, nil
}

func (p *Pair) read() (c contents, err error) {
	if c.cert, err = readFile("certificate", p.certFile); err != nil {
		return c, err
	}
	c.key, err = readFile("key", p.keyFile)
	return c, err
}

func readFile(what, name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err // its path is the name again
	}
	if err != nil {
		return nil, fmt.Errorf("the TLS %s file %q cannot be read: %w", what, name, err)
	}
	return data, nil
}

func (p *Pair) parse(c contents) (*tls.Certificate, error) {
	certificate, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("the TLS certificate %q and the key %q cannot be used: %s", p.certFile, p.keyFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return &certificate, nil
}

// use has the next handshakes use the certificate.
func (p *Pair) use(c contents, certificate *tls.Certificate) {
	p.seen = c
	p.current.Store(certificate)
	leaf := certificate.Leaf
	p.log.Info("TLS certificate loaded", "file", p.certFile, "names", strings.Join(leaf.DNSNames, " "), "expires", leaf.NotAfter.UTC().Format(time.RFC3339))
	if warning := p.Warning(time.Now()); warning != "" {
		p.log.Warn(warning)
	}
}

// Warning says why clients will not accept the certificate at that time, or
// nothing.
func (p *Pair) Warning(now time.Time) string {
	switch leaf := p.current.Load().Leaf; {
	case now.After(leaf.NotAfter):
		return fmt.Sprintf("the TLS certificate %q has expired at %s: clients will refuse it", p.certFile, leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("the TLS certificate %q is not valid before %s: clients will refuse it", p.certFile, leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return ""
}

// Expires returns when the certificate in use does.
func (p *Pair) Expires() time.Time { return p.current.Load().Leaf.NotAfter }

// Config returns what a server needs: TLS 1.2 or later, and the certificate of
// the moment. It is the caller's own.
func (p *Pair) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current.Load(), nil },
	}
}

// Run looks at the files every 10 s, and when now says so, until ctx ends. It
// returns ctx's error.
func (p *Pair) Run(ctx context.Context, now <-chan os.Signal) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-now:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p.look()
	}
}

// look takes the files' contents over if they have changed.
func (p *Pair) look() {
	c, err := p.read()
	if err != nil {
		// Once, though it may be so for long.
		if !p.seen.equal(contents{}) {
			p.seen = contents{}
			p.keep(err)
		}
		return
	}
	if c.equal(p.seen) {
		return
	}
	certificate, err := p.parse(c)
	if err != nil {
		// The files may have been replaced between the two reads.
		if again, readError := p.read(); readError == nil && !again.equal(c) {
			c = again
			certificate, err = p.parse(c)
		}
	}
	if err != nil {
		p.seen = c
		p.keep(err)
		return
	}
	p.use(c, certificate)
}

func (p *Pair) keep(err error) {
	p.log.Error("the new TLS certificate is not used; the last good one stays", "error", err, "expires", p.Expires().UTC().Format(time.RFC3339))
}
