package revocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
)

// memory is a Store.
type memory struct {
	mu     sync.Mutex
	users  map[string][]redisbus.Revocation
	err    map[string]error // by user; "" for all
	reads  [][]string
	before func()        // called, unlocked, before a read answers
	takes  time.Duration // how long a read does
}

func (m *memory) Revocations(ctx context.Context, users []string) []redisbus.Revocations {
	m.mu.Lock()
	before := m.before
	m.reads = append(m.reads, slices.Sorted(slices.Values(users)))
	out := make([]redisbus.Revocations, len(users))
	for i, u := range users {
		out[i] = redisbus.Revocations{List: slices.Clone(m.users[u]), Err: errors.Join(m.err[""], m.err[u])}
	}
	m.mu.Unlock()
	if before != nil {
		before()
	}
	select {
	case <-time.After(m.takes):
	case <-ctx.Done():
		for i := range out {
			out[i] = redisbus.Revocations{Err: ctx.Err()}
		}
	}
	return out
}

func (m *memory) Revoke(_ context.Context, r redisbus.Revocation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users[r.User] = append(m.users[r.User], r)
	return nil
}

func (m *memory) fail(user string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err[user] = err
}

func (m *memory) takeReads() [][]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.reads
	m.reads = nil
	return list
}

// taken is what a connection was told.
type fixture struct {
	*Registry
	store *memory
	taken []string
}

func scenario(t *testing.T, f func(t *testing.T, r *fixture)) {
	synctest.Test(t, func(t *testing.T) {
		r := &fixture{store: &memory{users: map[string][]redisbus.Revocation{}, err: map[string]error{}}}
		r.Registry = New(Options{Logger: slog.New(slog.DiscardHandler), Hooks: Hooks{Taken: func(what string) { r.taken = append(r.taken, what) }}})
		r.Use(r.store)
		defer r.Close()
		f(t, r)
	})
}

func (r *fixture) wantTaken(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if !slices.Equal(r.taken, want) {
		t.Errorf("taken were %q, want %q", r.taken, want)
	}
	r.taken = nil
}

func (r *fixture) enter(t *testing.T, who Who) *Visit {
	t.Helper()
	v := &Visit{}
	if err := r.Enter(t.Context(), who, v); err != nil {
		t.Fatalf("%+v: %v", who, err)
	}
	return v
}

func (r *fixture) wantRefused(t *testing.T, who Who) {
	t.Helper()
	err := r.Enter(t.Context(), who, &Visit{})
	if !errors.As(err, new(*RevokedError)) {
		t.Errorf("%+v: %v, want it to be revoked", who, err)
	}
}

func revoke(user string, change ...func(*redisbus.Revocation)) redisbus.Revocation {
	r := redisbus.Revocation{User: user, At: time.Now(), Until: time.Now().Add(time.Hour)}
	for _, c := range change {
		c(&r)
	}
	return r
}

func token(id string) func(*redisbus.Revocation) {
	return func(r *redisbus.Revocation) { r.Token = id }
}

func channel(t *testing.T, source string) func(*redisbus.Revocation) {
	p, err := channels.ParsePattern(source)
	if err != nil {
		t.Fatal(err)
	}
	return func(r *redisbus.Revocation) { r.Channels = p }
}

func TestWhoIsRefused(t *testing.T) {
	scenario(t, func(t *testing.T, r *fixture) {
		now := time.Now()
		r.store.users["alice"] = []redisbus.Revocation{revoke("alice")}
		r.store.users["bob"] = []redisbus.Revocation{revoke("bob", token("t1")), revoke("bob", channel(t, "project:42:**"))}
		r.wantRefused(t, Who{User: "alice"})
		r.wantRefused(t, Who{User: "alice", Issued: now.Add(-time.Second)})
		r.wantRefused(t, Who{User: "alice", Issued: now})
		r.wantRefused(t, Who{User: "bob", TokenID: "t1", Issued: now.Add(time.Hour)})
		r.enter(t, Who{User: "carol"}).Leave()
		r.enter(t, Who{}).Leave()
		b := r.enter(t, Who{User: "bob", TokenID: "t2", Issued: now})
		if b.Denied("project:42:tasks") == nil || b.Denied("project:42") != nil || b.Denied("project:43:tasks") != nil {
			t.Error("bob is denied the wrong channels")
		}
		b.Leave()
		b.Leave()
		time.Sleep(time.Second)
		a := r.enter(t, Who{User: "alice", Issued: time.Now()})
		b = r.enter(t, Who{User: "bob", Issued: time.Now()})
		if b.Denied("project:42:tasks") != nil {
			t.Error("a newer token is denied a channel")
		}
		a.Leave()
		b.Leave()
		time.Sleep(2 * time.Hour) // the tokens have expired meanwhile
		r.enter(t, Who{User: "alice", Issued: now}).Leave()
	})
}

func TestRevokedConnectionsAreTold(t *testing.T) {
	scenario(t, func(t *testing.T, r *fixture) {
		old, other := r.enter(t, Who{User: "alice", TokenID: "t1", Issued: time.Now()}), r.enter(t, Who{User: "bob"})
		ahead := r.enter(t, Who{User: "alice", TokenID: "t2", Issued: time.Now().Add(time.Hour)})
		time.Sleep(time.Second)
		r.Revoked(revoke("alice", token("t1")))
		r.wantTaken(t, "connection")
		r.Revoked(revoke("alice", token("t1"))) // a second link hears it too
		r.wantTaken(t)
		r.Revoked(revoke("alice", channel(t, "a")))
		r.wantTaken(t, "channel", "channel")
		fresh := r.enter(t, Who{User: "alice", Issued: time.Now().Add(time.Millisecond)})
		r.Revoked(revoke("stranger"))
		r.wantTaken(t)
		// One that comes when it is of no use any more still is for who is here.
		r.Revoked(revoke("bob", func(r *redisbus.Revocation) { r.Until = time.Now().Add(-time.Second) }))
		r.wantTaken(t, "connection")
		r.enter(t, Who{User: "bob"}).Leave()
		time.Sleep(time.Second)
		newer := r.enter(t, Who{User: "alice", Issued: time.Now()})
		at := time.Now().Add(-time.Millisecond)
		r.Revoked(revoke("alice", func(r *redisbus.Revocation) { r.At = at }))
		r.wantTaken(t, "connection", "connection", "connection") // old, ahead and fresh
		if n := len(r.Visits("alice")); n != 4 {
			t.Errorf("alice has %d connections", n)
		}
		for _, v := range []*Visit{old, other, ahead, fresh, newer} {
			v.Leave()
		}
		if n := len(r.Visits("alice")); n != 0 {
			t.Errorf("alice has %d connections left", n)
		}
		r.wantRefused(t, Who{User: "alice", Issued: at})
		r.Revoked(revoke("alice"))
		r.wantTaken(t)
	})
}

// Between what is read and what is heard nothing falls.
func TestARevocationDuringTheRead(t *testing.T) {
	scenario(t, func(t *testing.T, r *fixture) {
		r.store.before = func() { r.Revoked(revoke("alice")) }
		r.wantRefused(t, Who{User: "alice"})
		r.store.before = func() { r.Revoked(revoke("bob")) }
		if err := r.Check(t.Context(), Who{User: "bob"}, "a"); err == nil {
			t.Error("bob may read")
		}
	})
}

func TestUsersAreReadTogetherAndOnce(t *testing.T) {
	scenario(t, func(t *testing.T, r *fixture) {
		gate := make(chan struct{})
		r.store.before = func() { <-gate }
		var entering sync.WaitGroup
		for i := range 100 {
			entering.Go(func() { r.enter(t, Who{User: fmt.Sprint("user-", i%10)}).Leave() })
			if i == 0 {
				synctest.Wait() // the first is alone, the others wait for the next
			}
		}
		synctest.Wait()
		close(gate)
		entering.Wait()
		if reads := r.store.takeReads(); len(reads) != 2 || len(reads[0])+len(reads[1]) != 10 {
			t.Errorf("read were %q", reads)
		}
		r.store.before = nil
		r.enter(t, Who{User: "user-3"}).Leave()
		if reads := r.store.takeReads(); len(reads) != 0 {
			t.Errorf("who is known is read again: %q", reads)
		}
		if err := r.Check(t.Context(), Who{User: "user-3"}, "a"); err != nil || len(r.store.takeReads()) != 1 {
			t.Errorf("a single request is not answered by Redis: %v", err)
		}
	})
}

// However long users keep coming, each reading has the whole of its time.
func TestReadingDoesNotEndWhileUsersKeepComing(t *testing.T) {
	scenario(t, func(t *testing.T, r *fixture) {
		r.store.before = func() { time.Sleep(time.Second) }
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Second / 2)
				r.enter(t, Who{User: fmt.Sprint("user", i)}).Leave()
			})
		}
		all.Wait()
	})
}

func TestWhoCannotBeReadIsRefusedForNow(t *testing.T) {
	scenario(t, func(t *testing.T, r *fixture) {
		away := errors.New("redis is away")
		r.store.fail("", away)
		if err := r.Enter(t.Context(), Who{User: "alice"}, &Visit{}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, away) {
			t.Errorf("got %v", err)
		}
		if err := r.Check(t.Context(), Who{User: "alice"}, "a"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		r.store.fail("", nil)
		v := r.enter(t, Who{User: "alice"})
		r.store.fail("", away)
		if err := r.Check(t.Context(), Who{User: "alice"}, "a"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a known user's single request: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.store.before = func() { time.Sleep(5 * time.Second) }
		if err := r.Enter(ctx, Who{User: "bob"}, &Visit{}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		v.Leave()
	})
}

func TestRefresh(t *testing.T) {
	scenario(t, func(t *testing.T, r *fixture) {
		issued := time.Now()
		a, b := r.enter(t, Who{User: "alice", Issued: issued}), r.enter(t, Who{User: "bob", Issued: issued})
		r.enter(t, Who{User: "idle"}).Leave()
		r.store.takeReads()
		time.Sleep(time.Second)

		// While the links were away:
		r.store.users["alice"] = []redisbus.Revocation{revoke("alice")}
		r.store.users["idle"] = []redisbus.Revocation{revoke("idle")}
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.wantTaken(t, "connection")
		if reads := r.store.takeReads(); len(reads) != 1 || !slices.Equal(reads[0], []string{"alice", "bob"}) {
			t.Errorf("read were %q", reads)
		}
		r.wantRefused(t, Who{User: "idle"})

		// What Redis has lost since is put back.
		r.store.users = map[string][]redisbus.Revocation{}
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if list := r.store.users["alice"]; len(list) != 1 || list[0].User != "alice" {
			t.Errorf("put back is %+v", list)
		}
		r.wantTaken(t)

		// Redis as a whole away: nobody is cut.
		away := errors.New("away")
		r.store.fail("", away)
		if err := r.Refresh(t.Context()); !errors.Is(err, away) {
			t.Errorf("refreshed: %v", err)
		}
		r.store.fail("", nil)

		// A part of it that comes back in time, and one that does not.
		r.store.fail("bob", away)
		go func() {
			time.Sleep(time.Second)
			r.store.fail("bob", nil)
		}()
		if err := r.Refresh(t.Context()); err != nil {
			t.Errorf("refreshed: %v", err)
		}
		r.wantTaken(t)
		r.store.fail("bob", away)
		if err := r.Refresh(t.Context()); err != nil {
			t.Errorf("refreshed: %v", err)
		}
		r.wantTaken(t, "unread")
		a.Leave()
		b.Leave()
	})
}

// Who asks for a refresh gets one that began afterwards.
func TestRefreshesAreShared(t *testing.T) {
	scenario(t, func(t *testing.T, r *fixture) {
		v := r.enter(t, Who{User: "alice"})
		r.store.takeReads()
		gate := make(chan struct{})
		r.store.before = func() { <-gate }
		var asking sync.WaitGroup
		for i := range 20 {
			asking.Go(func() {
				if err := r.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			})
			if i == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		close(gate)
		asking.Wait()
		if n := len(r.store.takeReads()); n != 2 {
			t.Errorf("%d reads, want the first's and one for all others", n)
		}
		v.Leave()
	})
}

func TestIdleUsersAreForgotten(t *testing.T) {
	scenario(t, func(t *testing.T, r *fixture) {
		stays := r.enter(t, Who{User: "stays"})
		for i := range maxIdle + 500 {
			r.enter(t, Who{User: fmt.Sprint(i)}).Leave()
		}
		if n := len(r.users); n != maxIdle+1 {
			t.Errorf("%d users are remembered", n)
		}
		r.store.takeReads()
		r.enter(t, Who{User: "stays"}).Leave()
		r.enter(t, Who{User: fmt.Sprint(maxIdle)}).Leave()
		if n := len(r.store.takeReads()); n != 0 {
			t.Errorf("%d reads of who was here lately", n)
		}
		stays.Leave()
	})
}

// However long users keep coming, each reading has its own time.
func TestAStormOfUsersIsRead(t *testing.T) {
	scenario(t, func(t *testing.T, r *fixture) {
		r.store.takes = 100 * time.Millisecond
		var comers sync.WaitGroup
		for i := range 300 { // for longer than readTimeout
			comers.Go(func() {
				v := &Visit{}
				if err := r.Enter(t.Context(), Who{User: fmt.Sprint("user", i)}, v); err != nil {
					t.Errorf("user %d: %v", i, err)
				}
				v.Leave()
			})
			time.Sleep(50 * time.Millisecond) // in the bubble
		}
		comers.Wait()
	})
}

// A user whom nobody can read is asked to come back, also where there is no
// other: Redis is not away, and the replica goes on for those without a token.
func TestTheOnlyUserCannotBeRead(t *testing.T) {
	scenario(t, func(t *testing.T, r *fixture) {
		v := r.enter(t, Who{User: "alice"})
		defer v.Leave()
		r.store.fail("alice", errors.New("WRONGTYPE"))
		if err := r.Refresh(t.Context()); err != nil {
			t.Errorf("Refresh: %v", err)
		}
		r.wantTaken(t, "unread")
		r.store.fail("", errors.New("away"))
		if err := r.Refresh(t.Context()); err == nil {
			t.Error("Refresh tells nothing where Redis is away")
		}
		r.wantTaken(t)
	})
}

// Whoever comes while rights are taken back is refused, or told: whether it is
// heard, or read again after it was missed, and whether the user was known.
func TestNobodySlipsThrough(t *testing.T) {
	store := &memory{users: map[string][]redisbus.Revocation{}, err: map[string]error{}}
	var taken atomic.Int64
	r := New(Options{Logger: slog.New(slog.DiscardHandler), Hooks: Hooks{Taken: func(string) { taken.Add(1) }}})
	r.Use(store)
	defer r.Close()
	for i := range 600 {
		who := Who{User: fmt.Sprint("user", i), Issued: time.Now().Add(-time.Minute)}
		if i%3 == 0 {
			v := &Visit{}
			if err := r.Enter(t.Context(), who, v); err != nil {
				t.Fatal(err)
			}
			v.Leave()
		}
		taken.Store(0)
		var admitted atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := r.Enter(t.Context(), who, &Visit{}); err == nil {
					admitted.Add(1)
				}
			})
		}
		all.Go(func() {
			e := revoke(who.User)
			if err := store.Revoke(t.Context(), e); err != nil {
				t.Error(err)
			}
			if i%2 == 0 {
				r.Revoked(e)
			} else if err := r.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() { _ = r.Check(t.Context(), who, "a") })
		if i%5 == 0 {
			all.Go(func() { _ = r.Refresh(t.Context()) })
		}
		all.Wait()
		if admitted.Load() > taken.Load() { // Check comes in, too
			t.Fatalf("round %d: %d came in, %d were told", i, admitted.Load(), taken.Load())
		}
	}
}
