package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func wantSetting(t *testing.T, err error, want string) {
	t.Helper()
	var got *SettingError
	if !errors.As(err, &got) || got.Setting != want {
		t.Errorf("error is %v, want one about %s", err, want)
	}
}

func TestNewRefusesSettings(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "file.pem")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := string(must(os.ReadFile(publicFile(t, edKey().Public()))))
	small := must(x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}))
	p224 := must(x509.MarshalPKIXPublicKey(must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)).Public()))
	for _, tt := range []struct {
		name    string
		o       Options
		setting string
		text    string
	}{
		{"no such file", Options{PublicKeyFile: filepath.Join(t.TempDir(), "missing.pem")}, "PublicKeyFile", "no such file"},
		{"empty file", Options{PublicKeyFile: file("")}, "PublicKeyFile", "no PEM block"},
		{"not PEM", Options{PublicKeyFile: file("secret")}, "PublicKeyFile", "no PEM block"},
		{"two keys", Options{PublicKeyFile: file(good + good)}, "PublicKeyFile", "more than one"},
		{"broken key", Options{PublicKeyFile: pemFile(t, "PUBLIC KEY", []byte("x"))}, "PublicKeyFile", "asn1"},
		{"broken PKCS #1 key", Options{PublicKeyFile: pemFile(t, "RSA PUBLIC KEY", []byte("x"))}, "PublicKeyFile", "asn1"},
		{"broken certificate", Options{PublicKeyFile: pemFile(t, "CERTIFICATE", []byte("x"))}, "PublicKeyFile", "x509"},
		{"private key", Options{PublicKeyFile: pemFile(t, "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(edKey())))}, "PublicKeyFile", "private key"},
		{"old private key", Options{PublicKeyFile: pemFile(t, "RSA PRIVATE KEY", []byte("x"))}, "PublicKeyFile", "private key"},
		{"other PEM", Options{PublicKeyFile: pemFile(t, "DH PARAMETERS", []byte("x"))}, "PublicKeyFile", "DH PARAMETERS"},
		{"small RSA key", Options{PublicKeyFile: pemFile(t, "PUBLIC KEY", small)}, "PublicKeyFile", "1024 bits"},
		{"curve without algorithm", Options{PublicKeyFile: pemFile(t, "PUBLIC KEY", p224)}, "PublicKeyFile", "P-256"},
		{"secret is PEM", Options{Secret: "\n" + good}, "Secret", "PublicKeyFile"},
		{"leeway", Options{Leeway: time.Hour}, "Leeway", "10m"},
		{"URL without scheme", Options{JWKSURL: "id.example/keys"}, "JWKSURL", "http"},
		{"URL of a file", Options{JWKSURL: "file:///keys"}, "JWKSURL", "http"},
		{"URL without host", Options{JWKSURL: "https:///keys"}, "JWKSURL", "host"},
		{"URL malformed", Options{JWKSURL: "https://user:pass@id.example:x/"}, "JWKSURL", "URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := New(t.Context(), tt.o)
			if v != nil {
				t.Error("got a Verifier")
			}
			wantSetting(t, err, tt.setting)
			if err != nil && (!strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "pass")) {
				t.Errorf("text is %q, want one with %q and without secrets", err, tt.text)
			}
		})
	}
}

func TestNewReadsKeyForms(t *testing.T) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotAfter: time.Unix(1, 0)}
	cert := must(x509.CreateCertificate(rand.Reader, template, template, rsaKey().Public(), rsaKey()))
	for name, file := range map[string]string{
		"PKIX":                pemFile(t, "PUBLIC KEY", must(x509.MarshalPKIXPublicKey(rsaKey().Public()))),
		"PKCS #1":             pemFile(t, "RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)),
		"expired certificate": pemFile(t, "CERTIFICATE", cert),
	} {
		t.Run(name, func(t *testing.T) {
			wantGood(t, newVerifier(t, Options{PublicKeyFile: file}), sign("RS256", rsaKey(), claims(), nil))
		})
	}
}

func TestNewWarnsOfShortSecretOnce(t *testing.T) {
	var short, long logs
	v := newVerifier(t, Options{Secret: "opensesame", Logger: short.logger()})
	token := must(Sign("opensesame", Grant{Subject: "alice"}, time.Now()))
	wantGood(t, v, token)
	wantGood(t, v, token)
	if n := strings.Count(short.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, short.String())
	}
	if strings.Contains(short.String(), "opensesame") {
		t.Error("the secret is in the log")
	}
	wantNotIn(t, short.String(), token)
	newVerifier(t, Options{Secret: testSecret, Logger: long.logger()})
	if long.String() != "" {
		t.Errorf("a secret of 32 bytes is warned of: %s", long.String())
	}
}
