package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// stream watches as an open stream does.
type stream struct {
	stop func()
	lost chan error
	at   time.Time // of lost
}

func watch(a *Authorizer, q Question, until time.Time) *stream {
	s := &stream{lost: make(chan error, 10)}
	s.stop = a.Watch(q, until, func(err error) { s.at = time.Now(); s.lost <- err })
	return s
}

func (s *stream) wantHeld(t *testing.T) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-s.lost:
		t.Errorf("lost: %v", err)
	default:
	}
}

func (s *stream) wantLost(t *testing.T, want error) error {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-s.lost:
		if !errors.Is(err, want) {
			t.Errorf("lost: %v, want %v", err, want)
		}
		if len(s.lost) > 0 {
			t.Error("lost twice")
		}
		return err
	default:
		t.Errorf("not lost, want %v", want)
		return nil
	}
}

// wantEmpty checks that nothing is left of leases and questions.
func wantEmpty(t *testing.T, a *Authorizer) {
	t.Helper()
	synctest.Wait()
	a.leases.mu.Lock()
	defer a.leases.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.leases.byKey) + len(a.leases.queue) + len(a.flights) + a.waiting.Len() + a.workers; n != 0 {
		t.Errorf("%d leases, %d queued, %d flights, %d waiting, %d workers are left", len(a.leases.byKey), len(a.leases.queue), len(a.flights), a.waiting.Len(), a.workers)
	}
}

func TestWatchExtends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var when []time.Duration
		with := &app{answer: func(w http.ResponseWriter, r *http.Request) {
			when = append(when, time.Since(start))
			says(`{"allow":true,"ttl":100}`)(w, r)
		}}
		a := newAuthorizer(t, Options{Transport: with})
		s := watch(a, alice("a"), wantAllowed(t, a, alice("a")))
		time.Sleep(time.Hour)
		s.wantHeld(t)
		if len(when) < 36 || len(when) > 46 {
			t.Fatalf("%d questions in an hour, want one for each 80 to 95 s", len(when))
		}
		apart := map[time.Duration]bool{}
		for i, at := range when[1:] {
			life := at - when[i]
			if life < 80*time.Second || life > 95*time.Second {
				t.Errorf("asked again after %v, want 80 to 95 s", life)
			}
			apart[life] = true
		}
		if len(apart) < len(when)/2 {
			t.Errorf("the questions are not spread: %v", apart)
		}
		// What the leases learn serves new streams.
		before := len(when)
		wantAllowed(t, a, alice("a"))
		if len(when) != before {
			t.Error("the lease's answer was not kept for others")
		}
		s.stop()
		s.stop()
		wantEmpty(t, a)
		time.Sleep(time.Hour)
		if len(when) != before {
			t.Errorf("%d questions for nobody", len(when)-before)
		}
	})
}

func TestWatchersShareQuestions(t *testing.T) {
	const streams = 1000
	synctest.Test(t, func(t *testing.T) {
		with := &app{}
		a := newAuthorizer(t, Options{Transport: with})
		synctest.Wait()
		before := runtime.NumGoroutine()
		var all []*stream
		for i := range streams {
			q := alice(fmt.Sprint("channel:", i%2))
			all = append(all, watch(a, q, wantAllowed(t, a, q)))
		}
		synctest.Wait()
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines more for %d streams", n-before, streams)
		}
		time.Sleep(DefaultAllowTTL)
		if n := with.asked.Load(); n != 4 {
			t.Errorf("%d questions, want 2 for each channel", n)
		}
		for _, s := range all[1:] {
			s.stop()
		}
		time.Sleep(time.Hour)
		with.set(says(`{"allow":false,"reason":"left"}`))
		time.Sleep(DefaultAllowTTL)
		if err := all[0].wantLost(t, ErrDenied); err != nil && err.Error() != "denied by the application: left" {
			t.Errorf("lost: %v, want the application's reason", err)
		}
		all[0].stop()
		for _, s := range all[1:] {
			s.wantHeld(t)
		}
		wantEmpty(t, a)
	})
}

func TestWatchDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{}
		a := newAuthorizer(t, Options{Transport: with})
		until := wantAllowed(t, a, alice("a"))
		one, two, other := watch(a, alice("a"), until), watch(a, alice("a"), until), watch(a, alice("b"), until)
		with.set(func(w http.ResponseWriter, r *http.Request) {
			says(fmt.Sprintf(`{"allow":%t}`, with.question().Channel == "b"))(w, r)
		})
		time.Sleep(DefaultAllowTTL * 95 / 100)
		one.wantLost(t, ErrDenied)
		two.wantLost(t, ErrDenied)
		other.wantHeld(t)
		wantDenied(t, a, alice("a"))
	})
}

// What somebody else's question brings to light counts for open streams.
func TestWatchHearsOfOtherQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{answer: says(`{"allow":true,"ttl":600}`)}
		a := newAuthorizer(t, Options{Transport: with, MaxAnswers: 1})
		s := watch(a, alice("a"), wantAllowed(t, a, alice("a")))
		wantAllowed(t, a, alice("b")) // drives out the answer about a
		with.set(says(`{"allow":false}`))
		wantDenied(t, a, alice("a"))
		s.wantLost(t, ErrDenied)
	})
}

func TestWatchUnavailable(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"failing": status(http.StatusInternalServerError),
		"hanging": hangs,
		"lying":   says(`{"allow":"true"}`),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				with := &app{}
				a := newAuthorizer(t, Options{Transport: with})
				until := wantAllowed(t, a, alice("a"))
				one, two := watch(a, alice("a"), until), watch(a, alice("a"), until)
				with.set(answer)
				time.Sleep(time.Until(until) - 1)
				one.wantHeld(t)
				if n := with.asked.Load(); n < 2 {
					t.Errorf("%d questions, want more before the end", n)
				}
				time.Sleep(time.Nanosecond)
				one.wantLost(t, ErrUnavailable)
				two.wantLost(t, ErrUnavailable)
				if !one.at.Equal(until) {
					t.Errorf("lost %v after the end", one.at.Sub(until))
				}
				time.Sleep(time.Minute)
				wantEmpty(t, a)
			})
		})
	}
}

func TestWatchSurvivesTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{}
		a := newAuthorizer(t, Options{Transport: with, AllowTTL: 10 * time.Minute})
		until := wantAllowed(t, a, alice("a"))
		s := watch(a, alice("a"), until)
		with.set(status(http.StatusInternalServerError))
		time.Sleep(time.Until(until) * 96 / 100)
		with.set(nil)
		time.Sleep(time.Hour)
		s.wantHeld(t)
	})
}

func TestWatchEndsWithTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{}
		a := newAuthorizer(t, Options{Transport: with})
		q := alice("a")
		q.TokenExpires = time.Now().Add(90 * time.Second)
		s := watch(a, q, wantAllowed(t, a, q))
		time.Sleep(90*time.Second - 1)
		s.wantHeld(t)
		time.Sleep(time.Nanosecond)
		s.wantLost(t, ErrTokenExpired)
		if n := with.asked.Load(); n != 2 {
			t.Errorf("%d questions, want none that the token's end makes useless", n)
		}

		q.TokenExpires = time.Now().Add(-time.Second)
		watch(a, q, time.Now()).wantLost(t, ErrTokenExpired)
		wantEmpty(t, a)
	})
}

func TestWatchOfShortAnswers(t *testing.T) {
	for _, body := range []string{`{"allow":true,"ttl":0}`, `{"allow":true,"ttl":0.01}`, `{"allow":true,"ttl":1}`} {
		synctest.Test(t, func(t *testing.T) {
			with := &app{answer: func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(300 * time.Millisecond)
				says(body)(w, r)
			}}
			a := newAuthorizer(t, Options{Transport: with})
			s := watch(a, alice("a"), wantAllowed(t, a, alice("a")))
			before := with.asked.Load()
			time.Sleep(time.Minute)
			s.wantHeld(t)
			if n := with.asked.Load() - before; n < 60 || n > 130 {
				t.Errorf("%s: %d questions in a minute, want at most two in a second", body, n)
			}
			with.set(status(http.StatusNotFound))
			time.Sleep(minLease + 300*time.Millisecond)
			s.wantLost(t, ErrUnavailable)
		})
	}
}

func TestWatchKeepsTheLongerAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{answer: status(http.StatusNotFound)}
		a := newAuthorizer(t, Options{Transport: with})
		now := time.Now()
		long, short := watch(a, alice("a"), now.Add(time.Hour)), watch(a, alice("a"), now.Add(time.Minute))
		time.Sleep(time.Hour - 1)
		long.wantHeld(t)
		short.wantHeld(t)
		time.Sleep(time.Nanosecond)
		long.wantLost(t, ErrUnavailable)
		short.wantLost(t, ErrUnavailable)
	})
}

func TestStopFromLostAndWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{}
		a := newAuthorizer(t, Options{Transport: with})
		until := wantAllowed(t, a, alice("a"))
		s := watch(a, alice("a"), until)
		with.set(hangs)
		for with.asked.Load() == 1 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		s.stop()
		wantEmpty(t, a)
		time.Sleep(time.Hour)
		s.wantHeld(t)

		stop := make(chan func(), 1)
		var lost atomic.Int64
		stop <- a.Watch(alice("a"), time.Now().Add(time.Minute), func(error) { (<-stop)(); lost.Add(1) })
		time.Sleep(time.Hour)
		if lost.Load() != 1 {
			t.Errorf("lost was called %d times", lost.Load())
		}
	})
}

func TestCloseEndsLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{answer: hangs}
		a := newAuthorizer(t, Options{Transport: with})
		idle, asking := watch(a, alice("a"), time.Now().Add(time.Hour)), watch(a, alice("b"), time.Now().Add(2*time.Second))
		time.Sleep(1900 * time.Millisecond)
		if with.asked.Load() != 1 {
			t.Error("no question is under way")
		}
		a.Close()
		idle.wantLost(t, ErrUnavailable)
		asking.wantLost(t, ErrUnavailable)
		watch(a, alice("a"), time.Now().Add(time.Hour)).wantLost(t, ErrUnavailable)
		wantEmpty(t, a)
	})
}

// Leases are asked for in turn also where there are more than turns.
func TestManyLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const questions = 300
		with := &app{answer: func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(10 * time.Millisecond)
			says(`{"allow":true}`)(w, r)
		}}
		a := newAuthorizer(t, Options{Transport: with, MaxInFlight: 2})
		var all []*stream
		for i := range questions {
			q := Question{User: fmt.Sprint(i), Channel: "a", Action: Subscribe, Claims: json.RawMessage(`{}`)}
			all = append(all, watch(a, q, time.Now().Add(DefaultAllowTTL)))
		}
		time.Sleep(10 * time.Minute)
		for _, s := range all {
			s.wantHeld(t)
		}
		if n := with.asked.Load(); n < 10*questions || n > 13*questions {
			t.Errorf("%d questions in 10 minutes for %d leases", n, questions)
		}
	})
}

// Streams come and go while the application answers this and that.
func TestNothingIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{answer: func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(rand.N(4 * time.Second))
			switch rand.N(8) {
			case 0:
				says(`{"allow":false,"ttl":1}`)(w, r)
			case 1:
				w.WriteHeader(http.StatusInternalServerError)
			case 2:
				w.WriteHeader(http.StatusNotFound)
			default:
				says(`{"allow":true,"ttl":`+strconv.Itoa(rand.N(20))+`}`)(w, r)
			}
		}}
		a := newAuthorizer(t, Options{Transport: with, MaxInFlight: 3, MaxWaiting: 20, MaxAnswers: 5})
		var lost, held atomic.Int64
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				for range 40 {
					time.Sleep(rand.N(time.Second))
					q := alice(strconv.Itoa(rand.N(10)))
					if rand.N(2) == 0 {
						q.TokenExpires = time.Now().Truncate(time.Minute).Add(2 * time.Minute)
					}
					ctx, cancel := context.WithTimeout(t.Context(), rand.N(10*time.Second))
					until, err := a.Ask(ctx, q)
					cancel()
					if err != nil {
						continue
					}
					end := make(chan error, 1)
					stop := a.Watch(q, until, func(err error) { end <- err })
					select {
					case <-end:
						lost.Add(1)
					case <-time.After(rand.N(time.Minute)):
						held.Add(1)
					}
					stop()
				}
			})
		}
		wg.Wait()
		if lost.Load() == 0 || held.Load() == 0 {
			t.Errorf("%d streams lost, %d held: one of them was not tried", lost.Load(), held.Load())
		}
		time.Sleep(time.Minute)
		wantEmpty(t, a)
	})
}

// A crowd of new questions, more than may wait, does not end the streams that
// are open.
func TestRenewalsGoBeforeNewcomers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{answer: func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(500 * time.Millisecond)
			says(`{"allow":true,"ttl":10}`)(w, r)
		}}
		a := newAuthorizer(t, Options{Transport: with, MaxInFlight: 1, MaxWaiting: 5})
		until, err := a.Ask(t.Context(), alice("open"))
		if err != nil {
			t.Fatal(err)
		}
		s := watch(a, alice("open"), until)
		ctx, cancel := context.WithCancel(t.Context())
		var crowd sync.WaitGroup
		for i := range 20 {
			crowd.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					_, _ = a.Ask(ctx, alice(fmt.Sprint("new-", i, "-", n)))
					time.Sleep(10 * time.Millisecond) // where it was refused at once
				}
			})
		}
		time.Sleep(time.Minute)
		s.wantHeld(t)
		cancel()
		crowd.Wait()
		s.stop()
	})
}
