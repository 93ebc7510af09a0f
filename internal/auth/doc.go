// Package auth says who a request comes from and what it may do.
//
// [FromRequest] finds the token, [Verifier.Verify] turns it into [Claims], and
// [Decide] answers, from a channel's policy and those claims alone, whether
// they may subscribe, as [DecidePublish] does for publishing:
//
//	var claims *auth.Claims // nil: nobody
//	if token, ok := auth.FromRequest(r, cookie); ok {
//		claims, err = verifier.Verify(r.Context(), token)
//		…
//	}
//	switch auth.Decide(policies.For(channel), claims, channel) { … }
//
// A token is a JWT. Its rights are in one private claim, as channel patterns;
// the subject is the user and the expiry ends the user's streams:
//
//	{"sub": "alice", "exp": 1767225600, "gateway": {"subscribe": ["project:*:tasks"], "publish": []}}
//
// A placeholder in a pattern, in the token or in a policy, stands for the values
// of that claim of the token ([Claims.Values]): {sub} for the subject, {teams}
// for each element of "teams": ["red", "blue"].
//
// # Keys
//
// A shared secret, a public key and a JWKS URL may be configured together. The
// type of a key alone decides which algorithms it verifies: HS256, HS384 and
// HS512 the secret; RS* and PS* an RSA key; ES256, ES384 or ES512 the ECDSA key
// of that curve; EdDSA an Ed25519 key. So a public key never serves as a
// secret, whatever a token's header claims, and "none" verifies nothing.
// Headers that bring a key or point to one (jwk, jku, x5c, x5u) are ignored,
// and a critical extension (crit) is refused, because none is known here.
//
// A JWKS is fetched in the background: at the start, every few minutes, and,
// limited in rate, when a token names a key that is not in it. One fetch serves
// all requests that wait for it. Keys that left the set are forgotten with the
// next fetch; while the URL is unreachable, or has no usable key, the last keys
// stay in force. Until there are any, and while nobody can tell whether an
// unknown key is a new one, tokens are refused with [ErrUnavailable], which is
// temporary, and never with [ErrBadToken], after which a browser's EventSource
// would not come back. Claims that are bad whatever the key, such as an exp in
// the past, are refused as such before a fetch is considered.
//
// # Known limits
//
// A token cannot be revoked here before it expires; streams that must end
// earlier are ended by a disconnect. The secret and the public key file are
// read once. A certificate counts for its public key only; its dates and issuer
// are not checked. Subjects with characters that channel names cannot have
// (such as | or :) are valid but match no {sub}; so it is with the values of
// any other placeholder.
package auth
