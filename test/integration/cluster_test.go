package integration_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/test/integration/harness"
)

// spread makes one channel of the family for each master.
func spread(t *testing.T, f *fixture, family string) []string {
	t.Helper()
	var out []string
	var owners []*harness.Node
	for len(out) < 3 {
		ch := channel(family)
		owner, err := f.cluster.Owner(ch)
		must(t, err)
		if !slices.Contains(owners, owner) {
			out, owners = append(out, ch), append(owners, owner)
		}
	}
	return out
}

// All ways of publishing, on channels of all masters.
func TestCluster(t *testing.T) {
	t.Parallel()
	f := commonCluster.use(t)
	chs, lives := spread(t, f, "hist"), spread(t, f, "live")
	all := slices.Concat(chs, lives)
	streams := []*harness.Stream{open(t, f.url(0), on(all...)), open(t, f.url(1), on(all...))}
	token := harness.Token{Sub: "service", Publish: []string{"hist:**", "live:**"}}.Sign()
	for _, ch := range all {
		for n := 1; n <= 9; n += 3 {
			fcall(t, f, ch, harness.Counted(n))
			if a := ask(t, http.MethodPost, of(f.url(n), ch), token, harness.Counted(n+1)); a.status/100 != 2 {
				t.Fatalf("POST: status %d: %s", a.status, a.body)
			}
			for _, s := range streams {
				waitNumber(t, s, ch, n+1)
			}
			publish(t, f, ch, harness.Counted(n+2))
			for _, s := range streams {
				waitNumber(t, s, ch, n+2)
			}
		}
	}
	for _, s := range streams {
		for _, ch := range all {
			wantNumbers(t, s.Now().Of(ch), 1, 9)
		}
	}
	back := open(t, f.url(1), from(streams[0].Now().Events[0].ID, chs...))
	for _, ch := range chs {
		waitRecorded(t, f, ch, 9)
		waitNumber(t, back, ch, 9)
		wantNumbers(t, back.Now().Of(ch), 1, 9)
	}
}

// move is a channel whose slot goes to another master, step by step.
type move struct {
	slot     int
	from, to *harness.Node
}

func newMove(t *testing.T, f *fixture, ch string) move {
	t.Helper()
	slot, err := f.cluster.Slot(ch)
	must(t, err)
	from, err := f.cluster.Owner(ch)
	must(t, err)
	return move{slot, from, f.cluster.Nodes[(slices.Index(f.cluster.Nodes, from)+1)%3]}
}

// A slot moves while its channel is published to. Each way of publishing works
// in every step, and the events arrive while that step lasts.
func TestClusterMovesASlot(t *testing.T) {
	t.Parallel()
	token := harness.Token{Sub: "service", Publish: []string{"hist:**"}}.Sign()
	ways := map[string]func(t *testing.T, f *fixture, ch string, n int){
		"FCALL": func(t *testing.T, f *fixture, ch string, n int) { fcall(t, f, ch, harness.Counted(n)) },
		"FCALL with EVENTID": func(t *testing.T, f *fixture, ch string, n int) {
			first := fcall(t, f, ch, harness.Counted(n), "EVENTID", fmt.Sprint("id-", n))
			if again := fcall(t, f, ch, harness.Counted(n), "EVENTID", fmt.Sprint("id-", n)); again != first {
				t.Fatalf("the event id gives %s, and then %s", first, again)
			}
		},
		"POST": func(t *testing.T, f *fixture, ch string, n int) {
			if a := ask(t, http.MethodPost, of(f.url(n), ch), token, harness.Counted(n)); a.status/100 != 2 {
				t.Fatalf("POST: status %d: %s", a.status, a.body)
			}
		},
		"PUBLISH": func(t *testing.T, f *fixture, ch string, n int) { publish(t, f, ch, harness.Counted(n)) },
	}
	for way, send := range ways {
		for _, order := range []string{"the stream last", "the stream first"} {
			t.Run(way+"/"+order, func(t *testing.T) {
				t.Parallel()
				f := commonCluster.use(t)
				ch := channel("hist")
				streams := []*harness.Stream{open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))}
				sent := 0
				step := func(name string) {
					t.Log(name)
					for range 2 {
						sent++
						send(t, f, ch, sent)
						for _, s := range streams {
							waitNumber(t, s, ch, sent)
						}
					}
				}
				step("before")
				m, stream := newMove(t, f, ch), "gw:"+ch
				steps := harness.Move{
					First:  stream,
					Opened: func() { step("the slot is opened") },
					Moved: func(key string) {
						if key == stream {
							step("the stream has moved")
						}
					},
					Emptied: func() { step("all keys have moved") },
				}
				if order == "the stream last" {
					steps.First, steps.Last = "", stream
				}
				must(t, f.cluster.MoveSlot(m.slot, m.from, m.to, steps))
				step("the slot is assigned")
				for _, s := range streams {
					wantNumbers(t, s.Now().Of(ch), 1, sent)
				}
				stillOpen(t, streams...)
				back := open(t, f.url(1), from(streams[0].Now().Events[0].ID, ch))
				waitNumber(t, back, ch, sent)
				wantNumbers(t, back.Now().Of(ch), 1, sent)
			})
		}
	}
}

// An event id is repeated while its slot moves to another master. It is neither
// published again, nor in the way of the move. (Between the moves of its own two
// keys it would be: which one is there cannot be told from its never having been.)
func TestClusterMovesARepeatedEventID(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"the stream last", "the stream first"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			f := commonCluster.use(t)
			ch := channel("hist")
			s := open(t, f.url(0), on(ch))
			first := fcall(t, f, ch, harness.Counted(1), "EVENTID", "one")
			repeat := func(when string) {
				again, err := tryFcall(f, ch, harness.Counted(1), "EVENTID", "one")
				if err != nil || again != first {
					t.Errorf("%s: the event id gives %q (%v), want %s", when, again, err, first)
				}
			}
			m := newMove(t, f, ch)
			steps := harness.Move{
				First:   "gw:" + ch,
				Opened:  func() { repeat("the slot is opened") },
				Emptied: func() { repeat("all keys have moved") },
			}
			if order == "the stream last" {
				steps.First, steps.Last = "", steps.First
			}
			must(t, f.cluster.MoveSlot(m.slot, m.from, m.to, steps))
			repeat("the slot is assigned")
			fcall(t, f, ch, harness.Counted(2))
			waitNumber(t, s, ch, 2)
			wantNumbers(t, s.Now().Of(ch), 1, 2)
		})
	}
}

// Busy slots move to a master that has just joined. Nothing is lost, doubled or
// out of order, and the functions are there as soon as publishers are sent to
// it.
func TestClusterGrows(t *testing.T) {
	t.Parallel()
	f := own(t, setup{cluster: &harness.ClusterOptions{}})
	chs, quiet := spread(t, f, "many"), channel("hist")
	all := append([]string{quiet}, chs...)
	streams := []*harness.Stream{open(t, f.url(0), on(all...)), open(t, f.url(1), on(all...))}
	p := harness.StartPublisher(f.db(), harness.Persistently, 5*time.Millisecond, chs...)
	must(t, p.More(20))
	added, err := f.cluster.AddNode()
	must(t, err)
	must(t, harness.Until("the new master has the library before it has a slot", harness.Deadline, func() error {
		libraries, err := added.DB.FunctionList(t.Context(), redis.FunctionListQuery{LibraryNamePattern: "gateway"}).Result()
		if err == nil && len(libraries) == 0 {
			err = errors.New("it has none")
		}
		return err
	}))
	for i, ch := range all {
		m := newMove(t, f, ch)
		must(t, f.cluster.MoveSlot(m.slot, m.from, added, harness.Move{First: "gw:" + ch}))
		if i == 0 {
			if _, err := tryFcall(f, quiet, harness.Counted(1)); err != nil {
				t.Errorf("the first call at the new master: %v", err)
			}
		}
		must(t, p.More(20))
	}
	last, err := p.Stop()
	must(t, err)
	for _, ch := range chs {
		fcall(t, f, ch, harness.Counted(last+1))
	}
	for _, s := range streams {
		for _, ch := range chs {
			waitNumber(t, s, ch, last+1)
			wantNumbers(t, s.Now().Of(ch), 1, last+1)
		}
	}
	stillOpen(t, streams...)
}

// A master is replaced by its replica while its channels are published to.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"the master dies", "the old master lives"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{cluster: &harness.ClusterOptions{Replicas: true, PartialCoverage: true}})
			chs := spread(t, f, "many")
			plain := channel("hist")
			streams := []*harness.Stream{open(t, f.url(0), on(append(chs, plain)...)), open(t, f.url(1), on(append(chs, plain)...))}
			watch := watchReadiness(t, f.replicas...)
			p := harness.StartPublisher(f.db(), harness.Persistently, 5*time.Millisecond, chs...)
			must(t, p.More(20))
			master, err := f.cluster.Owner(chs[0])
			must(t, err)
			if way == "the master dies" {
				_, err = f.cluster.KillMaster(master)
				must(t, err)
			} else {
				replica, err := f.cluster.ReplicaOf(master)
				must(t, err)
				must(t, f.cluster.Failover(replica))
			}
			must(t, p.More(20))
			last, err := p.Stop()
			must(t, err)
			for _, s := range streams {
				for i, ch := range chs {
					waitNumber(t, s, ch, last)
					gaps := wantOrder(t, s.Now(), ch, last)
					if len(gaps) > 1 || len(gaps) > 0 && (i > 0 || way == "the old master lives") {
						t.Errorf("%d gaps on channel %d: %s", len(gaps), i, harness.View{Events: gaps})
					}
				}
			}
			ready(t, f)
			watch.wantAllReady(t)
			for n := 1; n <= 3; n++ {
				publish(t, f, plain, harness.Counted(n))
			}
			waitRecorded(t, f, plain, 3)
			for _, s := range streams {
				// They come by different nodes, which keep no order.
				waitCount(t, s, plain, 3)
				wantOnce(t, s, plain, 3)
			}
			stillOpen(t, streams...)
		})
	}
}
