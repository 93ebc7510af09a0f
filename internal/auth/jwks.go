package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"realtime-gateway/pkg/retry"
)

const (
	// refreshEvery is the mean time between fetches while all is well, and so
	// how long a withdrawn key may stay in force.
	refreshEvery = 5 * time.Minute

	// Tokens with unknown keys cause at most missBurst fetches at once and one
	// every missEvery after. The burst lets a real rotation through while
	// somebody plays with kids; more than that the issuer should not suffer.
	missBurst = 3
	missEvery = 10 * time.Second

	// maxKeyWait is how long a request waits for a fetch.
	maxKeyWait = 3 * time.Second
)

// fetchRetry spreads replicas that all lost the issuer at once.
var fetchRetry = retry.Policy{Initial: time.Second, Max: time.Minute}

// remoteKeys keeps the keys of a JWKS URL current. One goroutine, run, fetches;
// requests ask it for a round and wait for the round's end.
type remoteKeys struct {
	// fixed
	url     string
	shown   string // url without credentials and query, for logs
	client  *http.Client
	log     *slog.Logger
	limit   *rate.Limiter
	wake    chan struct{} // a round was asked for; size 1, as there is one at most
	stopped chan struct{} // closed when run has returned

	mu      sync.Mutex
	set     *keySet   // nil: none yet
	loaded  time.Time // when set came
	round   *round    // asked for or under way; nil: neither
	failing bool      // the last round failed, and run waits before the next
}

// round is one fetch that requests may wait for.
type round struct {
	done chan struct{} // closed at its end
	err  error         // written before
}

func newRemoteKeys(address string, client *http.Client, log *slog.Logger) (*remoteKeys, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("is not a URL") // the error would quote its password
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("is not an http or https URL with a host")
	}
	shown := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		log.Warn("the JWKS is fetched without TLS; who can change it on the way can sign tokens", "url", shown)
	}
	if client == nil {
		client = newClient()
	}
	return &remoteKeys{
		url:     address,
		shown:   shown,
		client:  client,
		log:     log,
		limit:   rate.NewLimiter(rate.Every(missEvery), missBurst),
		wake:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		round:   newRound(), // so that the first requests wait for the first fetch
	}, nil
}

func newRound() *round { return &round{done: make(chan struct{})} }

// current returns the newest key set, nil if there is none yet.
func (r *remoteKeys) current() *keySet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set
}

// loadedAt is when the newest key set came, zero if there is none yet.
func (r *remoteKeys) loadedAt() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loaded
}

// newer returns the key for t from a newer set than seen: an error that matches
// ErrBadToken if it is not in there either, and ErrUnavailable if nobody can
// tell now.
func (r *remoteKeys) newer(ctx context.Context, seen *keySet, t *jwt.Token) (any, error) {
	if err := r.refetch(ctx, seen); err != nil {
		return nil, err
	}
	key, err := r.current().key(ctx, t)
	if errors.Is(err, errUnknownKey) {
		return nil, bad(ReasonKey)
	}
	return key, err
}

// refetch waits for a set other than seen: that of the round under way or, as
// far as the rate allows, of a new one. Where none can be had it returns
// ErrUnavailable at once: the key may be one that the next round brings.
func (r *remoteKeys) refetch(ctx context.Context, seen *keySet) error {
	r.mu.Lock()
	if r.set != seen {
		r.mu.Unlock()
		return nil // it came since the caller looked
	}
	current := r.round
	if current == nil && !r.failing && r.limit.Allow() {
		current = newRound()
		r.round = current
		r.wake <- struct{}{}
	}
	r.mu.Unlock()
	if current == nil {
		return ErrUnavailable
	}
	limit := time.NewTimer(maxKeyWait)
	defer limit.Stop()
	select {
	case <-current.done:
		return current.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	case <-limit.C:
	case <-r.stopped:
	}
	return ErrUnavailable
}

// run fetches until ctx ends.
func (r *remoteKeys) run(ctx context.Context) {
	defer close(r.stopped)
	backoff := retry.Backoff{Policy: fetchRetry}
	for {
		current := r.begin()
		set, err := r.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		news := r.end(current, set, err, time.Now())
		// Between 80 % and 120 %, so that replicas started together part.
		next := refreshEvery*4/5 + rand.N(refreshEvery*2/5)
		if err != nil {
			next = backoff.Next()
			r.log.Warn("fetch of the JWKS failed", "url", r.shown, "error", err, "retry_in", next)
		} else {
			backoff.Reset()
			if news {
				r.log.Info("JWKS loaded", "url", r.shown, "keys", set.usable, "skipped", set.skipped)
			}
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-r.wake:
			timer.Stop()
		}
	}
}

// begin starts a round: the one that was asked for, or one that is due.
func (r *remoteKeys) begin() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.round == nil {
		r.round = newRound()
	}
	select {
	case <-r.wake: // asked for just as it was due
	default:
	}
	return r.round
}

// end finishes a round. It tells whether there are keys after none, or after
// trouble.
func (r *remoteKeys) end(current *round, set *keySet, err error, now time.Time) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	news = err == nil && (r.set == nil || r.failing)
	r.failing = err != nil
	if err == nil {
		r.set, r.loaded = set, now
	} else {
		current.err = ErrUnavailable
	}
	r.round = nil
	close(current.done)
	return news
}
