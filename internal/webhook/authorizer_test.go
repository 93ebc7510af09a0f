package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// gone asks and goes away while the application thinks.
func gone(t *testing.T, a *Authorizer, q Question) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	away := errors.New("client went away")
	done := make(chan error, 1)
	go func() { done <- checkUnavailable(t, a, ctx, q) }()
	synctest.Wait()
	cancel(away)
	if err := <-done; !errors.Is(err, away) {
		t.Errorf("Ask = %v, want it to say why it ended", err)
	}
	synctest.Wait()
}

func TestAnswersAreKeptUntilTheyEnd(t *testing.T) {
	var clock atomic.Pointer[time.Time]
	start := time.Now()
	clock.Store(&start)
	at := func(d time.Duration) { now := start.Add(d); clock.Store(&now) }
	with, seen := &app{answer: says(`{"allow":true,"ttl":10.5}`)}, &results{}
	a := serve(t, with, Options{Now: func() time.Time { return *clock.Load() }, Hooks: seen.hooks()})
	if until := wantAllowed(t, a, alice("a")); !until.Equal(start.Add(10500 * time.Millisecond)) {
		t.Errorf("allowed until %v, want the ttl from %v", until, start)
	}
	at(10500*time.Millisecond - 1)
	wantAllowed(t, a, alice("a"))
	if with.asked.Load() != 1 || seen.cached != 1 {
		t.Fatalf("%d requests, want the answer kept until its end", with.asked.Load())
	}
	at(10500 * time.Millisecond)
	with.set(says(`{"allow":false,"ttl":2,"reason":"left the project"}`))
	if denied := wantDenied(t, a, alice("a")); denied.Reason != "left the project" || !denied.Until.Equal(start.Add(12500*time.Millisecond)) {
		t.Errorf("denied: %+v", denied)
	}
	at(12 * time.Second)
	with.set(nil)
	wantDenied(t, a, alice("a"))
	at(13 * time.Second)
	wantAllowed(t, a, alice("a"))
	if with.asked.Load() != 3 {
		t.Errorf("%d requests, want 3", with.asked.Load())
	}
}

func TestLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		for _, tt := range []struct {
			body    string
			expires time.Duration // of the token; 0: never
			want    time.Duration
			kept    bool
		}{
			{`{"allow":true}`, 0, DefaultAllowTTL, true},
			{`{"allow":false}`, 0, DefaultDenyTTL, true},
			{`{"allow":true,"ttl":999999}`, 0, time.Hour, true},
			{`{"allow":false,"ttl":999999}`, 0, time.Hour, true},
			{`{"allow":true,"ttl":0}`, 0, 0, false},
			{`{"allow":false,"ttl":0}`, 0, 0, false},
			{`{"allow":true,"ttl":600}`, 30 * time.Second, 30 * time.Second, true},
			{`{"allow":false,"ttl":600}`, 30 * time.Second, 30 * time.Second, true},
			{`{"allow":true,"ttl":10}`, 30 * time.Second, 10 * time.Second, true},
			{`{"allow":true}`, -time.Second, -time.Second, false}, // accepted within the verifier's leeway
		} {
			with := &app{answer: says(tt.body)}
			a := newAuthorizer(t, Options{Transport: with})
			q := alice("a")
			if tt.expires != 0 {
				q.TokenExpires = start.Add(tt.expires)
			}
			until, err := a.Ask(t.Context(), q)
			var denied *DeniedError
			if errors.As(err, &denied) {
				until = denied.Until
			} else if err != nil {
				t.Fatal(err)
			}
			if !until.Equal(start.Add(tt.want)) {
				t.Errorf("%s, token for %v: until %v, want %v", tt.body, tt.expires, until.Sub(start), tt.want)
			}
			_, _ = a.Ask(t.Context(), q)
			if got := with.asked.Load() == 1; got != tt.kept {
				t.Errorf("%s, token for %v: kept is %v, want %v", tt.body, tt.expires, got, tt.kept)
			}
		}
	})
}

func TestAnswersAreKeptUnderAllTheyDependOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{}
		a := newAuthorizer(t, Options{Transport: with})
		now := time.Now()
		questions := []Question{
			alice("a"),
			{User: "alice", Channel: "a", Action: Publish, Claims: alice("a").Claims},
			{User: "bob", Channel: "a", Action: Subscribe, Claims: alice("a").Claims},
			{User: "alice", Channel: "a", Action: Subscribe, Claims: json.RawMessage(`{"sub":"alice","role":"reader"}`)},
			{User: "alice", Channel: "a", Action: Subscribe},
			{Channel: "a", Action: Subscribe},
			{User: "alicea", Action: Subscribe},
			{User: "alice", Channel: "a", Action: Subscribe, Claims: alice("a").Claims, TokenExpires: now.Add(time.Hour)},
		}
		for range 2 {
			for _, q := range questions {
				wantAllowed(t, a, q)
			}
		}
		if n := with.asked.Load(); n != int64(len(questions)) {
			t.Errorf("%d requests for %d distinct questions", n, len(questions))
		}
	})
}

func TestFailuresAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{answer: says("oops")}
		a := newAuthorizer(t, Options{Transport: with})
		wantUnavailable(t, a, alice("a"))
		with.set(nil)
		wantAllowed(t, a, alice("a"))
		// A failure does not use what is kept any longer either.
		time.Sleep(DefaultAllowTTL)
		with.set(says("oops"))
		wantUnavailable(t, a, alice("a"))
	})
}

func TestNoMoreAnswersAreKeptThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{}
		a := newAuthorizer(t, Options{Transport: with, MaxAnswers: 2})
		for _, channel := range []string{"a", "b", "a", "c", "a", "b"} { // c drives out b
			wantAllowed(t, a, alice(channel))
		}
		if n := with.asked.Load(); n != 4 {
			t.Errorf("%d requests, want 4", n)
		}
	})
}

func TestManyShareOneQuestionOverHTTP(t *testing.T) {
	const callers = 200
	release := make(chan struct{})
	with, seen := &app{answer: func(w http.ResponseWriter, r *http.Request) { <-release; says(`{"allow":true}`)(w, r) }}, &results{}
	a := serve(t, with, Options{Hooks: seen.hooks()})
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if _, err := a.Ask(t.Context(), alice("a")); err != nil {
				t.Error(err)
			}
		})
	}
	for k := alice("a"); ; runtime.Gosched() {
		a.mu.Lock()
		f := a.flights[k.key()]
		all := f != nil && f.waiters == callers
		a.mu.Unlock()
		if all {
			break
		}
	}
	close(release)
	wg.Wait()
	if with.asked.Load() != 1 {
		t.Errorf("%d requests, want one for all", with.asked.Load())
	}
	seen.want(t, ResultAllow, 1)
}

// An answer that comes before the caller has begun to wait is an answer too.
func TestQuickAnswers(t *testing.T) {
	a := newAuthorizer(t, Options{Transport: &app{answer: says(`{"allow":true,"ttl":0}`)}})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 500 {
				if _, err := a.Ask(t.Context(), alice(fmt.Sprint(i%2))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestOneWhoLeavesDoesNotDisturbTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		ended := make(chan struct{}, 10)
		with := &app{answer: func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
				says(`{"allow":true}`)(w, r)
			case <-r.Context().Done():
				ended <- struct{}{}
			}
		}}
		a := newAuthorizer(t, Options{Transport: with})
		stays := make(chan error, 1)
		go func() { _, err := a.Ask(t.Context(), alice("a")); stays <- err }()
		synctest.Wait()
		gone(t, a, alice("a"))
		if with.asked.Load() != 1 || len(ended) != 0 {
			t.Fatal("the question ended with the first who left, or was not shared")
		}
		// With the last one it ends, and who comes then asks anew.
		gone(t, a, alice("b"))
		if len(ended) != 1 {
			t.Error("a question for which nobody waits goes on")
		}
		close(release)
		if err := <-stays; err != nil {
			t.Errorf("Ask = %v, want the answer", err)
		}
		wantAllowed(t, a, alice("b"))
	})
}

func TestQuestionsInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		with, seen := &app{answer: func(w http.ResponseWriter, r *http.Request) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			now.Add(-1)
			says(`{"allow":true}`)(w, r)
		}}, &results{}
		a := newAuthorizer(t, Options{Transport: with, MaxInFlight: 4, MaxWaiting: 10, Hooks: seen.hooks()})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if _, err := a.Ask(t.Context(), alice(fmt.Sprint(i))); err != nil && !errors.Is(err, ErrUnavailable) {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		// 4 are under way, 10 wait, 6 are too many; of the 10, 4 have a turn
		// after 1 s and 4 after 2 s, just in time.
		seen.want(t, ResultOverload, 6)
		wg.Wait()
		synctest.Wait()
		if most.Load() != 4 {
			t.Errorf("%d questions at once, want 4", most.Load())
		}
		seen.want(t, ResultAllow, 12)
		seen.want(t, ResultOverload, 8)
		wantAllowed(t, a, alice("afterwards"))
	})
}

func TestWhoWaitsForATurnMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with, seen := &app{answer: hangs}, &results{}
		a := newAuthorizer(t, Options{Transport: with, MaxInFlight: 1, MaxWaiting: 1, Hooks: seen.hooks()})
		go func() { _ = checkUnavailable(t, a, t.Context(), alice("a")) }()
		synctest.Wait()
		for range 3 { // each leaves its place to the next
			gone(t, a, alice("b"))
		}
		seen.want(t, ResultAbandoned, 3)
		seen.want(t, ResultOverload, 0)
		if with.asked.Load() != 1 {
			t.Errorf("%d requests, want none of those who waited", with.asked.Load())
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{answer: hangs}
		a := newAuthorizer(t, Options{Transport: with, MaxInFlight: 1})
		for _, channel := range []string{"a", "b"} {
			go func() { _ = checkUnavailable(t, a, t.Context(), alice(channel)) }()
		}
		synctest.Wait()
		a.Close()
		synctest.Wait()
		wantUnavailable(t, a, alice("c"))
		a.Close()
	})
}

// deafTransport does not care that the question was given up.
type deafTransport struct{ app *app }

func (d deafTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return d.app.RoundTrip(r.WithContext(context.Background()))
}

func TestAnAnswerGivenUpDoesNotReplaceANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		with := &app{answer: func(w http.ResponseWriter, r *http.Request) { <-release; says(`{"allow":true}`)(w, r) }}
		a := newAuthorizer(t, Options{Transport: deafTransport{with}})
		gone(t, a, alice("a"))
		with.set(says(`{"allow":false,"ttl":60}`))
		wantDenied(t, a, alice("a"))
		close(release)
		synctest.Wait()
		with.set(nil)
		wantDenied(t, a, alice("a"))
	})
}
