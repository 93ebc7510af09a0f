package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

var hmacAlgorithms = []string{"HS256", "HS384", "HS512"}

var asymmetricAlgorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// minRSABits: RFC 7518, 3.3 and 3.5: "A key of size 2048 bits or larger MUST be
// used".
const minRSABits = 2048

// algorithmsOf returns the algorithms that a public key verifies. It depends on
// the key's type alone; what a token asks for has no say.
func algorithmsOf(key crypto.PublicKey) ([]string, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits {
			return nil, fmt.Errorf("RSA key has %d bits, allowed are %d and more", bits, minRSABits)
		}
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
	case *ecdsa.PublicKey:
		if _, err := k.ECDH(); err != nil {
			return nil, errors.New("ECDSA key is not a point on P-256, P-384 or P-521")
		}
		switch k.Curve {
		case elliptic.P256():
			return []string{"ES256"}, nil
		case elliptic.P384():
			return []string{"ES384"}, nil
		}
		return []string{"ES512"}, nil
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	}
	return nil, fmt.Errorf("key of type %T, allowed are RSA, ECDSA and Ed25519", key)
}

// readPublicKey reads the one public key in a PEM file.
func readPublicKey(file string) (crypto.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", file)
	}
	// A certificate chain would make its issuers' keys sign tokens too.
	if more, _ := pem.Decode(rest); more != nil {
		return nil, fmt.Errorf("%s holds more than one PEM block, allowed is one public key or certificate", file)
	}
	var key crypto.PublicKey
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	default:
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, fmt.Errorf("%s holds a private key; give the public key that belongs to it", file)
		}
		return nil, fmt.Errorf("%s holds a PEM block of type %q, allowed are PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE", file, block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// checkSecret refuses a secret that everybody may know: with a public key as
// HMAC secret, anybody could sign.
func checkSecret(secret string) error {
	if strings.Contains(secret, "-----BEGIN ") {
		return &SettingError{"Secret", errors.New("is a PEM block, not a shared secret; a public key belongs in PublicKeyFile")}
	}
	return nil
}
