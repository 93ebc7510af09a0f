package redisbus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS names the files for connections to a Redis whose URL begins with rediss.
// They count for all connections: to Redis, to Sentinels and to the nodes of a
// Cluster. Each server is verified by the name or address under which it is
// reached.
type TLS struct {
	CAFile   string // PEM; if empty, the system's roots are trusted
	CertFile string // PEM, the client certificate with its chain; empty if there is none
	KeyFile  string // PEM, the key of CertFile; both or none
}

// CheckTLS tells what would be wrong with the files for a URL. It reads them and
// connects to nothing.
func CheckTLS(url string, files TLS) error {
	t, err := parseURL(url)
	if err != nil {
		return err
	}
	return t.secure(files)
}

// secure completes what the URL says of TLS.
func (t *target) secure(files TLS) error {
	config, err := files.load()
	if err != nil {
		return err
	}
	var at **tls.Config
	switch {
	case t.sentinel != nil:
		at = &t.sentinel.TLSConfig
	case t.cluster != nil:
		at = &t.cluster.TLSConfig
	default:
		at = &t.single.TLSConfig
	}
	if *at == nil {
		if files != (TLS{}) {
			return errors.New("files for TLS to Redis are given, and the Redis URL asks for none: begin it with rediss in place of redis")
		}
		return nil
	}
	config.InsecureSkipVerify = (*at).InsecureSkipVerify // parameter skip_verify of the URL
	*at = config
	return nil
}

// load reads the files. The configuration has no server name: crypto/tls then
// takes the host that is dialled, and there may be several.
func (f TLS) load() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CAFile != "" {
		text, err := os.ReadFile(f.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificates of the Redis CA: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("certificates of the Redis CA: %s holds no PEM block CERTIFICATE that can be read", f.CAFile)
		}
	}
	if (f.CertFile == "") != (f.KeyFile == "") {
		return nil, errors.New("client certificate for Redis: its file and the file of its key are needed, or neither")
	}
	if f.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate for Redis, %s with %s: %w", f.CertFile, f.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
