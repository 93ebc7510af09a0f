package redisbus

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

// hintWorld is two recorders and Redis, and every order in which hints can be
// heard, called for, executed, answered and told of, in which calls can fail and
// recorders die.
type hintWorld struct {
	published, limit int
	announced        []int // how often each was
	r                [2]*hintRecorder
	crashes, errors  int
}

type hintRecorder struct {
	alive bool
	queue []int // on the connection: a hint of n as n, the notice of it as -n
	a     *announcer
	calls []int // in flight
	done  int   // of calls, how many Redis has executed
}

func (w *hintWorld) clone() *hintWorld {
	c := *w
	c.announced = slices.Clone(w.announced)
	for i, r := range w.r {
		n := *r
		n.queue, n.calls, n.a = slices.Clone(r.queue), slices.Clone(r.calls), newAnnouncer(nil)
		for _, n2 := range r.waiting() {
			n.a.heard("orders", pos(1, uint64(n2)), begin)
		}
		c.r[i] = &n
	}
	return &c
}

// waiting lists the hints that are to be announced.
func (r *hintRecorder) waiting() (list []int) {
	due, _ := r.a.take(begin.Add(time.Hour), 1000)
	for _, h := range due {
		list = append(list, int(h.position.Seq))
	}
	return list
}

func (w *hintWorld) key() string {
	text := fmt.Sprint(w.published, w.announced, w.crashes, w.errors)
	for _, r := range w.r {
		text += fmt.Sprint("|", r.alive, r.queue, r.waiting(), r.calls, r.done)
	}
	return text
}

func (w *hintWorld) tell(item int) {
	for _, r := range w.r {
		if r.alive {
			r.queue = append(r.queue, item)
		}
	}
}

func (w *hintWorld) moves() map[string]func(*hintWorld) {
	m := make(map[string]func(*hintWorld))
	if w.published < w.limit {
		m["publish"] = func(w *hintWorld) {
			w.published++
			w.announced = append(w.announced, 0)
			w.tell(w.published)
		}
	}
	for i, r := range w.r {
		if !r.alive {
			continue
		}
		name := func(s string) string { return fmt.Sprintf("%c %s", 'A'+i, s) }
		if len(r.queue) > 0 { // the link's goroutine: also while calls are in flight
			m[name("hears")] = func(w *hintWorld) {
				r := w.r[i]
				item := r.queue[0]
				r.queue = r.queue[1:]
				at := channels.Position{Millis: 1, Seq: uint64(max(item, -item))}
				if item > 0 {
					r.a.heard("orders", at, begin)
				} else {
					r.a.announced("orders", at)
				}
			}
		}
		if r.calls == nil && len(r.waiting()) > 0 { // whoever is first: the second's wait may be over
			m[name("calls")] = func(w *hintWorld) { w.r[i].calls = w.r[i].waiting() }
		}
		if r.done < len(r.calls) {
			m[name("is executed")] = func(w *hintWorld) {
				r := w.r[i]
				n := r.calls[r.done]
				r.done++
				w.announced[n-1]++
				w.tell(-n)
			}
		}
		if r.calls != nil && r.done == len(r.calls) {
			m[name("is answered")] = func(w *hintWorld) {
				r := w.r[i]
				for _, n := range r.calls {
					r.a.announced("orders", pos(1, uint64(n)))
				}
				r.calls, r.done = nil, 0
			}
		}
		if r.calls != nil && w.errors > 0 {
			m[name("gets no answer")] = func(w *hintWorld) {
				w.errors--
				w.r[i].calls, w.r[i].done = nil, 0 // they are put off, and tried again
			}
		}
		if w.crashes > 0 {
			m[name("crashes")] = func(w *hintWorld) {
				w.crashes--
				*w.r[i] = hintRecorder{a: newAnnouncer(nil)}
			}
		}
	}
	return m
}

// TestEachHintIsAnnounced tries every order, also of a recorder that dies between
// a hint and its announcement: whatever happens, at the end each is announced.
func TestEachHintIsAnnounced(t *testing.T) {
	for _, tt := range []struct{ hints, crashes, errors int }{{2, 0, 0}, {2, 1, 0}, {2, 0, 1}, {1, 1, 1}} {
		t.Run(fmt.Sprintf("%d hints, %d crashes, %d errors", tt.hints, tt.crashes, tt.errors), func(t *testing.T) {
			start := &hintWorld{limit: tt.hints, crashes: tt.crashes, errors: tt.errors}
			for i := range start.r {
				start.r[i] = &hintRecorder{alive: true, a: newAnnouncer(nil)}
			}
			seen := make(map[string]bool)
			ends := 0
			var explore func(w *hintWorld, path []string) bool
			explore = func(w *hintWorld, path []string) bool {
				key := w.key()
				if seen[key] {
					return true
				}
				seen[key] = true
				moves := w.moves()
				atRest := w.published == w.limit
				for _, r := range w.r {
					atRest = atRest && len(r.queue) == 0 && r.calls == nil && len(r.waiting()) == 0
				}
				if atRest {
					ends++
					if slices.Contains(w.announced, 0) {
						t.Errorf("a hint is never announced:\n%s", strings.Join(path, "\n"))
						return false
					}
				}
				for name, move := range moves {
					next := w.clone()
					move(next)
					if !explore(next, append(path[:len(path):len(path)], name)) {
						return false
					}
				}
				return true
			}
			explore(start, nil)
			if ends == 0 {
				t.Error("it never ends")
			}
			t.Logf("%d states, %d of them at rest", len(seen), ends)
		})
	}
}
