package revocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"realtime-gateway/pkg/redisbus"
	"realtime-gateway/pkg/sse"
)

// Store is where revocations are kept; *redisbus.Bus is one.
type Store interface {
	Revocations(ctx context.Context, users []string) []redisbus.Revocations
	Revoke(ctx context.Context, r redisbus.Revocation) error
}

// Hooks are optional observers; nil fields are skipped. They must not block.
type Hooks struct {
	Heard func(scope string) // a revocation that concerns a user who is known here; see redisbus.Revocation.Scope
	Taken func(what string)  // a connection lost something: "connection", "channel", or "unread" where it is ended for now
}

// Options configure a Registry.
type Options struct {
	Hooks  Hooks
	Logger *slog.Logger     // if nil, slog.Default()
	Now    func() time.Time // the time by which revocations end; if nil, time.Now
}

// maxIdle is how many users without connections are remembered, so that coming
// back costs no reading.
const maxIdle = 10_000

// ErrUnavailable is wrapped by errors that say that nobody can tell now.
var ErrUnavailable = errors.New("nobody can tell at the moment whether the token was revoked, since Redis cannot be reached")

// RevokedError says that a token's rights were taken back.
type RevokedError struct {
	Channel string // where only the right to this one was; empty for all
	Reason  string // given by who did it; may be empty
}

// Error returns a sentence for the client.
func (e *RevokedError) Error() string {
	text := "the token was revoked"
	if e.Channel != "" {
		text = "the right to channel " + strconv.Quote(e.Channel) + " was revoked"
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// Who is who asks: what a token says of its holder.
type Who struct {
	User    string // empty for nobody, who has nothing to lose
	TokenID string // empty if the token has none
	Issued  time.Time
}

// Registry is what is known of users. It is the redisbus.Guard of a replica.
// Safe for concurrent use.
type Registry struct {
	o     Options
	store Store // set by Use

	mu      sync.Mutex
	users   map[string]*user
	idle    []*user // those that may be forgotten, the oldest first
	pending []*user // to be read
	reading bool
	batch   *batch // of pending; closed when they are read

	refresh refresher
	trouble atomic.Bool // the last reading failed, and the log was told

	ctx     context.Context // ends with Close
	end     context.CancelFunc
	running sync.WaitGroup
}

var _ redisbus.Guard = (*Registry)(nil)

// batch is users that are read together.
type batch struct{ done chan struct{} }

// user is what is known of one.
type user struct {
	registry *Registry
	name     string
	known    bool // list holds all that Redis has
	queued   bool // is in Registry.idle
	asked    bool // waits to be read, with batch
	batch    *batch
	err      error // of the last reading
	list     []redisbus.Revocation
	visits   []*Visit
}

// Visit is a user's connection, or a request that may become one, from Enter to
// Leave. It must not be copied.
type Visit struct {
	sse.Holder
	user     *user // nil for nobody
	at       int32 // index in user.visits
	admitted bool
}

// New returns a Registry. Use has to be called before anything else.
func New(o Options) *Registry {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Registry{o: o, users: make(map[string]*user)}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r
}

// Close ends what is being read, and waits for that. Nothing may be asked after
// it.
func (r *Registry) Close() {
	r.end()
	r.running.Wait()
}

// read reads users, and tells the log when that becomes impossible.
func (r *Registry) read(ctx context.Context, users []string) []redisbus.Revocations {
	got := r.store.Revocations(ctx, users)
	var err error
	for i := range got {
		if err = got[i].Err; err == nil {
			break // of some it is
		}
	}
	if trouble := err != nil; r.trouble.Swap(trouble) != trouble && trouble && ctx.Err() == nil {
		r.o.Logger.Warn("it cannot be read what was revoked; nobody with a token is let in until it can", "error", err)
	}
	return got
}

// Use sets where revocations are kept: it, in turn, tells the Registry of them.
func (r *Registry) Use(s Store) { r.store = s }

// Enter admits a connection of who and fills in v, which from now on is told of
// what is revoked, until Leave. The error is a *RevokedError, or wraps
// ErrUnavailable; then there is nothing to leave. It reads Redis only where the
// user is not known yet. A nil Registry admits everybody.
func (r *Registry) Enter(ctx context.Context, who Who, v *Visit) error {
	v.User, v.TokenID = who.User, who.TokenID // of a request: cloned where they are kept
	if r == nil || who.User == "" {
		v.User, v.TokenID = strings.Clone(who.User), strings.Clone(who.TokenID)
		return nil
	}
	if !who.Issued.IsZero() {
		// Nobody has a token before it was issued: the clock of its issuer is ahead.
		v.Issued = min(who.Issued.UnixMilli(), r.o.Now().UnixMilli())
	}
	r.mu.Lock()
	u := r.users[who.User]
	if u == nil {
		u = &user{registry: r, name: strings.Clone(who.User)}
		r.users[u.name] = u
	}
	v.User, v.user, v.at = u.name, u, int32(len(u.visits))
	if n := len(u.visits); n > 0 && u.visits[n-1].TokenID == who.TokenID {
		v.TokenID = u.visits[n-1].TokenID // tabs of one browser share it
	} else {
		v.TokenID = strings.Clone(who.TokenID)
	}
	u.visits = append(u.visits, v)
	for !u.known {
		if err := r.readLocked(ctx, u); err != nil {
			r.mu.Unlock()
			v.Leave()
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	err := r.judgeLocked(v)
	v.admitted = err == nil
	r.mu.Unlock()
	if err != nil {
		v.Leave()
	}
	return err
}

// Leave ends the visit. Leaving twice is once.
func (v *Visit) Leave() {
	u := v.user
	if u == nil {
		return
	}
	r := u.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	v.user = nil
	last := len(u.visits) - 1
	u.visits[v.at] = u.visits[last]
	u.visits[v.at].at = v.at
	u.visits[last] = nil
	if u.visits = u.visits[:last]; last == 0 {
		u.visits = nil
		r.restLocked(u)
	}
}

// restLocked notes that a user has no connection, and forgets who had none for
// longest.
func (r *Registry) restLocked(u *user) {
	if !u.queued {
		u.queued = true
		r.idle = append(r.idle, u)
	}
	for len(r.idle) > maxIdle {
		oldest := r.idle[0]
		r.idle[0], r.idle = nil, r.idle[1:]
		if oldest.queued = false; len(oldest.visits) == 0 && r.users[oldest.name] == oldest {
			delete(r.users, oldest.name)
		}
	}
}

// Denied returns a *RevokedError if the right to this channel was taken back.
func (v *Visit) Denied(channel string) error {
	if v.user == nil {
		return nil
	}
	r := v.user.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	return deniedBy(v.user.list, &v.Holder, channel, r.o.Now())
}

// Check is for a single request of who about one channel: it reads Redis, as
// the request will. The error is that of Enter.
func (r *Registry) Check(ctx context.Context, who Who, channel string) error {
	if r == nil || who.User == "" {
		return nil
	}
	v := &Visit{}
	if err := r.Enter(ctx, who, v); err != nil {
		return err
	}
	defer v.Leave()
	got := r.read(ctx, []string{who.User})[0]
	if got.Err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, got.Err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mergeLocked(v.user, got.List)
	if err := r.judgeLocked(v); err != nil {
		return err
	}
	return deniedBy(v.user.list, &v.Holder, channel, r.o.Now())
}

// judgeLocked returns a *RevokedError if all rights of a visit were taken back.
func (r *Registry) judgeLocked(v *Visit) error {
	return deniedBy(v.user.list, &v.Holder, "", r.o.Now())
}

// deniedBy looks for a revocation of the whole connection, or of the channel.
func deniedBy(list []redisbus.Revocation, h *sse.Holder, channel string, now time.Time) error {
	for i := range list {
		e := &list[i]
		if !concerns(e, h) || !now.Before(e.Until) {
			continue
		}
		if e.Channels.String() == "" {
			return &RevokedError{Reason: e.Reason}
		}
		if channel != "" && e.Channels.MatchAnyone(channel) {
			return &RevokedError{Channel: channel, Reason: e.Reason}
		}
	}
	return nil
}

// concerns tells whether a revocation is of this holder's token. A token that
// does not say when it was issued may be an old one.
func concerns(e *redisbus.Revocation, h *sse.Holder) bool {
	if e.Token != "" {
		return e.Token == h.TokenID
	}
	return h.Issued <= e.At.UnixMilli()
}

// Revoked implements redisbus.Guard.
func (r *Registry) Revoked(e redisbus.Revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.users[e.User]
	if u == nil {
		return // who comes later is read
	}
	r.mergeLocked(u, []redisbus.Revocation{e})
	if !r.o.Now().Before(e.Until) { // it came late, and holds for those who are here
		r.takeLocked(u, &e)
	}
}

// mergeLocked adds what is news to what is known of a user, and acts on it.
func (r *Registry) mergeLocked(u *user, list []redisbus.Revocation) {
	now := r.o.Now()
	kept := u.list[:0]
	for _, e := range u.list {
		if now.Before(e.Until) {
			kept = append(kept, e)
		}
	}
	clear(u.list[len(kept):])
	u.list = kept
	for _, e := range list {
		if !now.Before(e.Until) || !learn(u, e) {
			continue
		}
		if h := r.o.Hooks.Heard; h != nil {
			h(e.Scope())
		}
		r.takeLocked(u, &e)
	}
}

// takeLocked takes the rights from all connections concerned.
func (r *Registry) takeLocked(u *user, e *redisbus.Revocation) {
	for _, v := range u.visits {
		if concerns(e, &v.Holder) {
			r.take(v, e)
		}
	}
}

// learn adds a revocation, and tells whether it was news.
func learn(u *user, e redisbus.Revocation) bool {
	for i := range u.list {
		old := &u.list[i]
		if !same(old, &e) {
			continue
		}
		news := old.At.Before(e.At)
		if news {
			old.At, old.Reason = e.At, e.Reason
		}
		if old.Until.Before(e.Until) {
			old.Until = e.Until
		}
		return news
	}
	u.list = append(u.list, e)
	return true
}

// same tells whether two revocations are of the same rights.
func same(a, b *redisbus.Revocation) bool {
	return a.Token == b.Token && a.Channels.String() == b.Channels.String()
}

// take takes the rights from a connection.
func (r *Registry) take(v *Visit, e *redisbus.Revocation) {
	what := "connection"
	if e.Channels.String() == "" {
		v.End(sse.CloseRevoked, e.Reason)
	} else {
		what = "channel"
		v.Lose(e.Channels, e.Reason)
	}
	if h := r.o.Hooks.Taken; h != nil && v.admitted {
		h(what)
	}
}

// Visits returns the connections that a user has here.
func (r *Registry) Visits(name string) []*sse.Holder {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.users[name]
	if u == nil {
		return []*sse.Holder{}
	}
	list := make([]*sse.Holder, len(u.visits))
	for i, v := range u.visits {
		list[i] = &v.Holder
	}
	return list
}
