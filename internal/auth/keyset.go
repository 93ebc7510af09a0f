package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// errUnknownKey means that the set lacks the key; a newer one may have it.
var errUnknownKey = errors.New("key is unknown")

// keySet is one fetched JWKS, reduced to the public keys that verify
// signatures. It is not changed after parseKeySet and safe for concurrent use.
type keySet struct {
	// byAlg holds, for each algorithm, the keys that may verify it. One key
	// may be in several; two of different type may share a kid (RFC 7517, 4.5).
	byAlg map[string]algKeys
	kids  map[string]bool

	usable, skipped int // keys, for logs
}

type algKeys struct {
	keys   keyfunc.Keyfunc
	number int
}

// parseKeySet reads a JWKS. Keys that cannot verify a token here, because of
// their type, use, size or form, are skipped: "Implementations SHOULD ignore
// JWKs within a JWK Set that use "kty" […] values that are not understood by
// them, that are missing required members, or for which values are out of the
// supported ranges" (RFC 7517, 5). A set without any usable key is an error.
func parseKeySet(text []byte) (*keySet, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("not a JSON Web Key Set: %w", err)
	}
	s := &keySet{byAlg: make(map[string]algKeys), kids: make(map[string]bool)}
	stores := make(map[string]jwkset.Storage)
	for _, raw := range doc.Keys {
		jwk, algs, err := parseKey(raw)
		if err != nil {
			s.skipped++
			continue
		}
		s.usable++
		if kid := jwk.Marshal().KID; kid != "" {
			s.kids[kid] = true
		}
		for _, alg := range algs {
			if stores[alg] == nil {
				stores[alg] = jwkset.NewMemoryStorage()
			}
			if err := stores[alg].KeyWrite(context.Background(), jwk); err != nil {
				return nil, err
			}
			s.byAlg[alg] = algKeys{number: s.byAlg[alg].number + 1}
		}
	}
	if s.usable == 0 {
		return nil, fmt.Errorf("key set has no key that verifies signatures, among %d", len(doc.Keys))
	}
	for alg, store := range stores {
		keys, err := keyfunc.New(keyfunc.Options{Storage: store, UseWhitelist: []jwkset.USE{"", jwkset.UseSig}})
		if err != nil {
			return nil, err
		}
		s.byAlg[alg] = algKeys{keys, s.byAlg[alg].number}
	}
	return s, nil
}

// parseKey reads one key and the algorithms that it may verify.
func parseKey(raw json.RawMessage) (jwk jwkset.JWK, algs []string, err error) {
	// The library panics on some keys whose numbers are too large for their
	// curve. A broken key set must not end the process.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed key: %v", r)
		}
	}()
	// Without Private, secrets (kty oct) are refused, and of a private key that
	// somebody published by mistake only the public part is read.
	jwk, err = jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{Private: false}, jwkset.JWKValidateOptions{})
	if err != nil {
		return jwkset.JWK{}, nil, err
	}
	if algs, err = algorithmsOf(jwk.Key()); err != nil {
		return jwkset.JWK{}, nil, err
	}
	m := jwk.Marshal()
	if m.USE != "" && m.USE != jwkset.UseSig {
		return jwkset.JWK{}, nil, fmt.Errorf("key is for use %q", m.USE)
	}
	if len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return jwkset.JWK{}, nil, errors.New("key is not for verification")
	}
	if alg := m.ALG.String(); alg != "" {
		if !slices.Contains(algs, alg) {
			return jwkset.JWK{}, nil, fmt.Errorf("key is for algorithm %q", alg)
		}
		algs = []string{alg}
	}
	return jwk, algs, nil
}

// key returns the one key for t, an error that matches ErrBadToken, or
// errUnknownKey. In a nil set, every key is unknown.
func (s *keySet) key(ctx context.Context, t *jwt.Token) (any, error) {
	kid, err := keyID(t)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, errUnknownKey
	}
	keys, ok := s.byAlg[t.Method.Alg()]
	switch {
	case kid == "" && ok && keys.number > 1:
		// OpenID Connect Core, 10.1: "If there are multiple keys in the
		// referenced JWK Set document, a kid value MUST be provided".
		return nil, bad(ReasonKeyID)
	case !ok && s.kids[kid]:
		return nil, bad(ReasonAlgorithm) // known, but not for this
	case !ok:
		return nil, errUnknownKey
	}
	key, err := keys.keys.KeyfuncCtx(ctx)(t)
	switch {
	case err == nil:
		return key, nil
	case s.kids[kid]:
		return nil, bad(ReasonAlgorithm)
	}
	return nil, errUnknownKey
}

// keyID returns the token's kid, "" if it has none.
func keyID(t *jwt.Token) (string, error) {
	value, ok := t.Header["kid"]
	if !ok {
		return "", nil
	}
	// An empty kid would select a key without one.
	kid, ok := value.(string)
	if !ok || kid == "" {
		return "", bad(ReasonKeyID)
	}
	return kid, nil
}
