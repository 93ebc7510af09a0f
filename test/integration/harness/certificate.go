package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Certificate is a TLS certificate for 127.0.0.1, signed by itself, in files
// that can be replaced.
type Certificate struct {
	CertFile, KeyFile string
	roots             *x509.CertPool
}

// NewCertificate writes one that is valid until then into dir.
func NewCertificate(dir string, until time.Time) (*Certificate, error) {
	c := &Certificate{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"), roots: x509.NewCertPool()}
	return c, c.Renew(until)
}

// Renew replaces the files by those of another certificate and key.
func (c *Certificate) Renew(until time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(until.UnixNano()), DNSNames: []string{"gateway.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	c.roots.AddCert(leaf)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := replace(c.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})); err != nil {
		return err
	}
	return replace(c.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// replace changes a file at once.
func replace(name string, data []byte) error {
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// Client is how a client speaks TLS to who has the certificate.
func (c *Certificate) Client() *tls.Config {
	return &tls.Config{RootCAs: c.roots.Clone(), ServerName: "gateway.test", MinVersion: tls.VersionTLS12}
}
