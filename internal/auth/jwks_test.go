package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// newRemote makes a Verifier that fetches from the issuer and ends with the
// test.
func newRemote(t *testing.T, from *issuer, o Options) *Verifier {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	o.JWKSURL, o.HTTPClient = "https://user:pass@id.example/keys?code=hush", from.client()
	v, err := New(ctx, o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() { cancel(); v.Wait() })
	return v
}

func TestJWKSOverHTTP(t *testing.T) {
	from := &issuer{body: keySetJSON(jwk(p256Key().Public(), "a", nil))}
	server := httptest.NewServer(from)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	v, err := New(ctx, Options{JWKSURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); v.Wait() }()

	wantGood(t, v, es(p256Key(), "a")) // waits for the first fetch
	if err := v.Ready(); err != nil {
		t.Errorf("Ready = %v after the keys were loaded", err)
	}
	var header http.Header
	from.change(func() { header = from.header })
	if got := header.Get("Accept"); !strings.HasPrefix(got, "application/jwk-set+json") {
		t.Errorf("Accept is %q", got)
	}
	// Rotation: the token of the new key makes the new set known.
	from.serve(keySetJSON(jwk(otherKey().Public(), "b", nil)))
	wantGood(t, v, es(otherKey(), "b"))
	wantBad(t, v, es(p256Key(), "a"), ReasonKey) // withdrawn
	// Outage: known keys stay, unknown ones may be new.
	server.CloseClientConnections()
	server.Close()
	wantUnavailable(t, v, es(p256Key(), "c"))
	wantGood(t, v, es(otherKey(), "b"))
}

func TestJWKSUnreachableAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logs
		from := &issuer{down: errRefused}
		v := newRemote(t, from, Options{Secret: testSecret, PublicKeyFile: publicFile(t, edKey().Public()), Logger: log.logger()})
		wantUnavailable(t, v, es(p256Key(), "a"))
		wantGood(t, v, hs(claims())) // other sources do not depend on it
		wantGood(t, v, sign("EdDSA", edKey(), claims(), map[string]any{"kid": "elsewhere"}))
		if err := v.Ready(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Ready = %v, want ErrUnavailable", err)
		}

		time.Sleep(24 * time.Hour)
		tries := from.fetches()
		if tries < 24*60 || tries > 24*60*4 {
			t.Errorf("%d fetches in a day of outage, want some in each minute", tries)
		}
		start := time.Now()
		for range 1000 {
			wantUnavailable(t, v, es(p256Key(), "a"))
		}
		if took := time.Since(start); took != 0 || from.fetches() != tries {
			t.Errorf("tokens during the outage waited %v and caused %d fetches, want neither", took, from.fetches()-tries)
		}
		wantLog(t, &log, "level=WARN", tries)
		wantLog(t, &log, `url=https://id.example/keys error="connection refused"`, tries)

		from.serve(keySetJSON(jwk(p256Key().Public(), "a", nil)))
		time.Sleep(fetchRetry.Max)
		synctest.Wait()
		wantGood(t, v, es(p256Key(), "a"))
		wantLog(t, &log, "JWKS loaded", 1)
		wantLog(t, &log, "pass", 0)
		wantLog(t, &log, "hush", 0)
	})
}

func TestJWKSBadAnswersAreOutages(t *testing.T) {
	good := keySetJSON(jwk(p256Key().Public(), "a", nil))
	for name, change := range map[string]func(i *issuer){
		"error status":   func(i *issuer) { i.status = http.StatusInternalServerError },
		"no content":     func(i *issuer) { i.status = http.StatusNoContent },
		"HTML":           func(i *issuer) { i.body = "<html>" },
		"empty set":      func(i *issuer) { i.body = keySetJSON() },
		"no usable key":  func(i *issuer) { i.body = keySetJSON(map[string]any{"kty": "oct", "k": b64(testSecret), "kid": "a"}) },
		"endless answer": func(i *issuer) { i.body = good + strings.Repeat(" ", maxSetBytes) },
		"hangs":          func(i *issuer) { i.delay = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logs
				from := &issuer{body: good}
				v := newRemote(t, from, Options{Logger: log.logger()})
				wantGood(t, v, es(p256Key(), "a"))
				from.change(func() { change(from) })
				time.Sleep(2 * refreshEvery)
				wantGood(t, v, es(p256Key(), "a")) // with the last keys
				wantUnavailable(t, v, es(otherKey(), "b"))
				if !strings.Contains(log.String(), "fetch of the JWKS failed") {
					t.Error("the outage is not in the log")
				}
			})
		})
	}
}

func TestJWKSRefreshForgetsWithdrawnKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{body: keySetJSON(jwk(p256Key().Public(), "a", nil), jwk(otherKey().Public(), "b", nil))}
		v := newRemote(t, from, Options{})
		wantGood(t, v, es(otherKey(), "b"))
		from.serve(keySetJSON(jwk(p256Key().Public(), "a", nil)))
		time.Sleep(refreshEvery * 6 / 5)
		synctest.Wait()
		wantFetches(t, from, 2)
		wantBad(t, v, es(otherKey(), "b"), ReasonKey)
		// The same name for another key: the new one counts.
		from.serve(keySetJSON(jwk(otherKey().Public(), "a", nil)))
		time.Sleep(refreshEvery * 6 / 5)
		synctest.Wait()
		wantBad(t, v, es(p256Key(), "a"), ReasonSignature)
		wantGood(t, v, es(otherKey(), "a"))
	})
}

// What says how old the keys are stands still while none can be had.
func TestJWKSLoadedWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{down: errRefused}
		v := newRemote(t, from, Options{})
		synctest.Wait()
		if at := v.KeySetLoaded(); !at.IsZero() {
			t.Errorf("loaded at %v, with an issuer that was never there", at)
		}
		from.serve(keySetJSON(jwk(p256Key().Public(), "a", nil)))
		time.Sleep(fetchRetry.Max)
		first := v.KeySetLoaded()
		time.Sleep(refreshEvery * 6 / 5)
		again := v.KeySetLoaded()
		if first.IsZero() || !again.After(first) {
			t.Errorf("loaded at %v, and then at %v", first, again)
		}
		from.change(func() { from.down = errRefused })
		time.Sleep(time.Hour)
		if at := v.KeySetLoaded(); at.Sub(again) > refreshEvery*6/5 {
			t.Errorf("loaded at %v in an outage that began at %v", at, again)
		}
	})
}

func TestJWKSUnknownKeysShareAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{body: keySetJSON(jwk(p256Key().Public(), "a", nil))}
		v := newRemote(t, from, Options{})
		wantGood(t, v, es(p256Key(), "a"))
		from.serve(keySetJSON(jwk(otherKey().Public(), "b", nil)))
		from.change(func() { from.delay = time.Second })
		start := time.Now()
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if _, err := v.Verify(t.Context(), es(otherKey(), "b")); err != nil {
					t.Errorf("Verify = %v, want the token of the new key accepted", err)
				}
			})
			group.Go(func() {
				if _, err := v.Verify(t.Context(), es(otherKey(), "c")); !errors.Is(err, ErrBadToken) {
					t.Errorf("Verify = %v, want ErrBadToken", err)
				}
			})
		}
		group.Wait()
		wantFetches(t, from, 2)
		if took := time.Since(start); took != time.Second {
			t.Errorf("all took %v, want the one second of one fetch", took)
		}
	})
}

func TestJWKSUnknownKeysAreLimitedInRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{body: keySetJSON(jwk(p256Key().Public(), "a", nil))}
		v := newRemote(t, from, Options{})
		wantGood(t, v, es(p256Key(), "a"))
		for range missBurst {
			wantBad(t, v, es(otherKey(), "b"), ReasonKey)
		}
		wantFetches(t, from, 1+missBurst)
		for range 100 {
			wantUnavailable(t, v, es(otherKey(), "b")) // who knows
		}
		wantGood(t, v, es(p256Key(), "a"))
		wantFetches(t, from, 1+missBurst)
		time.Sleep(missEvery)
		wantBad(t, v, es(otherKey(), "b"), ReasonKey)
		wantUnavailable(t, v, es(otherKey(), "b"))
		wantFetches(t, from, 2+missBurst)
	})
}

// Old clients with tokens of a key that has gone must learn that they need new
// ones, also during an outage, and must not cost the issuer anything.
func TestJWKSClaimsAreJudgedBeforeAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{down: errRefused}
		v := newRemote(t, from, Options{Issuer: "me"})
		token := func(changes map[string]any) string {
			return sign("ES256", otherKey(), claims(map[string]any{"iss": "me"}, changes), map[string]any{"kid": "gone"})
		}
		for range 2 { // without keys, then with others
			synctest.Wait()
			before := from.fetches()
			wantBad(t, v, token(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), ReasonExpired)
			wantBad(t, v, token(map[string]any{"iss": "another"}), ReasonIssuer)
			wantBad(t, v, token(map[string]any{"sub": 7}), ReasonClaim)
			wantFetches(t, from, before)
			if _, err := v.Verify(t.Context(), token(nil)); err == nil {
				t.Error("a token of an unknown key is accepted")
			}
			from.serve(keySetJSON(jwk(p256Key().Public(), "a", nil)))
			time.Sleep(refreshEvery)
			synctest.Wait()
		}
	})
}

func TestJWKSSetThatCameMeanwhileNeedsNoFetch(t *testing.T) {
	r, err := newRemoteKeys("https://id.example/keys", nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.end(r.begin(), &keySet{}, nil, time.Now())
	if err := r.refetch(t.Context(), nil); err != nil || r.round != nil {
		t.Errorf("refetch = %v, want the set that came after the caller looked", err)
	}
}

func TestJWKSWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{delay: time.Hour}
		v := newRemote(t, from, Options{})
		start := time.Now()
		wantUnavailable(t, v, es(p256Key(), "a"))
		if took := time.Since(start); took != maxKeyWait {
			t.Errorf("waited %v, want %v", took, maxKeyWait)
		}
		errGone := errors.New("client has gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errGone)
		if _, err := v.Verify(ctx, es(p256Key(), "a")); !errors.Is(err, ErrUnavailable) || !errors.Is(err, errGone) {
			t.Errorf("Verify = %v, want ErrUnavailable because %v", err, errGone)
		}
	})
}

func TestJWKSEndsWithContext(t *testing.T) {
	for name, from := range map[string]*issuer{
		"between fetches": {body: keySetJSON(jwk(p256Key().Public(), "a", nil))},
		"during a fetch":  {delay: time.Hour},
		"during a retry":  {down: errRefused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				v, err := New(ctx, Options{JWKSURL: "https://id.example/keys", HTTPClient: from.client()})
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				start := time.Now()
				cancel()
				v.Wait()
				for range 10 {
					wantUnavailable(t, v, es(otherKey(), "b"))
				}
				if from.body != "" {
					wantGood(t, v, es(p256Key(), "a"))
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("the end took %v, want none", took)
				}
			})
		})
	}
}

func TestJWKSBesideAStaticKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{body: keySetJSON(jwk(p256Key().Public(), "a", nil))}
		v := newRemote(t, from, Options{Secret: testSecret, PublicKeyFile: publicFile(t, otherKey().Public())})
		wantGood(t, v, es(p256Key(), "a"))
		wantGood(t, v, es(otherKey(), "unknown to the set"))
		wantGood(t, v, es(otherKey(), "a"))
		wantGood(t, v, hs(claims()))
		wantFetches(t, from, 1)
		wantBad(t, v, es(newECDSA(p256Key().Curve), "a"), ReasonSignature)
	})
}
