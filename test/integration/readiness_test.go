package integration_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// readinessWatch looks at /readyz of replicas all the time, as a load balancer
// that is quick to give up does.
type readinessWatch struct {
	stop    chan struct{}
	looking sync.WaitGroup

	mu   sync.Mutex
	saw  map[string]int
	less []string // answers that are not 200
}

func watchReadiness(t *testing.T, replicas ...*harness.Gateway) *readinessWatch {
	t.Helper()
	w := &readinessWatch{stop: make(chan struct{}), saw: make(map[string]int)}
	for _, g := range replicas {
		w.looking.Go(func() {
			for {
				select {
				case <-w.stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
				status, body, err := g.Readiness()
				w.mu.Lock()
				w.saw[status]++
				if err != nil || status == harness.NotReady {
					w.less = append(w.less, fmt.Sprintf("%s: %s %v", g.Addr, body, err))
				}
				w.mu.Unlock()
			}
		})
	}
	t.Cleanup(w.end)
	return w
}

func (w *readinessWatch) end() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.looking.Wait()
}

// wantAllReady ends the watch, and checks that each answer was 200.
func (w *readinessWatch) wantAllReady(t *testing.T) {
	t.Helper()
	w.end()
	if len(w.less) > 0 || len(w.saw) == 0 {
		t.Errorf("%d answers were not 200, of %v; the first: %s", len(w.less), w.saw, strings.Join(w.less[:min(1, len(w.less))], ""))
	}
}

// While Redis is away, and while it comes back, no replica is unready: whoever
// stands in front of them would have nobody left. They say that they are degraded,
// and one that starts now is not ready.
func TestReadyWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 3, redisArgs: harness.Durable, flags: []string{"--heartbeat", "1s", "--drain-time", "0s"}})
	ch := channel("hist")
	var streams []*harness.Stream
	for i := range f.replicas {
		streams = append(streams, open(t, f.url(i), on(ch)))
	}
	watch := watchReadiness(t, f.replicas[1:]...)
	must(t, f.redis.Kill())
	for _, g := range f.replicas {
		must(t, g.WaitStatus(harness.Degraded))
		wantMetric(t, g, "gateway_redis_up", "0")
		wantMetric(t, g, "gateway_ready", "1")
	}
	must(t, harness.Until("it says why, and since when", harness.Deadline, func() error {
		_, body, err := f.replicas[1].Readiness()
		if err == nil && (!strings.Contains(body, `"reason":"redis is away: `+f.redis.Addr) || !strings.Contains(body, `"since":{"redis":"20`)) {
			err = fmt.Errorf("it says %s", body)
		}
		return err
	}))
	// Longer than it takes to notice a replica that is deaf.
	hears(t, 10, streams[1:]...)
	stillOpen(t, streams...)
	if _, err := f.replicas[0].Process().Terminate(); err != nil {
		t.Fatal(err)
	}
	must(t, f.replicas[0].Start())
	must(t, f.replicas[0].WaitStatus(harness.NotReady))
	hears(t, 3, streams[1:]...)
	if status, body, err := f.replicas[0].Readiness(); err != nil || status != harness.NotReady {
		t.Errorf("a replica that never had Redis says %s (%v)", body, err)
	}
	must(t, f.redis.Start())
	ready(t, f)
	watch.wantAllReady(t)
	count(t, f, ch, 1, 3)
	for _, s := range streams[1:] {
		waitNumber(t, s, ch, 3)
		wantNumbers(t, s.Now().Of(ch), 1, 3)
	}
}

// With a grace a replica leaves in the end, and comes back with Redis.
func TestReadyGrace(t *testing.T) {
	t.Parallel()
	f := own(t, setup{redisArgs: harness.Durable, flags: []string{"--ready-grace", "1s"}})
	watch := watchReadiness(t, f.replicas...)
	must(t, f.redis.Kill())
	for _, g := range f.replicas {
		must(t, g.WaitStatus(harness.NotReady))
		wantMetric(t, g, "gateway_ready", "0")
	}
	watch.end()
	if watch.saw[harness.Degraded] == 0 {
		t.Errorf("they left without the grace: %v", watch.saw)
	}
	must(t, f.redis.Start())
	ready(t, f)
}

// Who alone cannot hear a Redis that is there is not ready, within seconds, and the
// others are all the while.
func TestOnlyTheDeafReplicaIsNotReady(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"nothing comes through", "it may not subscribe"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{proxied: true, prepare: func(f *fixture) error {
				return f.db().Do(t.Context(), "ACL", "SETUSER", "narrow", "on", ">p", "allkeys", "allchannels", "+@all").Err()
			}})
			deaf, err := f.join("redis://narrow:p@"+f.proxies[0].Addr, nil, nil)
			must(t, err)
			must(t, deaf.WaitReady())
			watch := watchReadiness(t, f.replicas[1])
			if what == "nothing comes through" {
				must(t, f.proxies[0].BlackHole())
			} else {
				must(t, f.db().Do(t.Context(), "ACL", "SETUSER", "narrow", "-subscribe", "-psubscribe").Err())
				must(t, f.redis.KillPubSub(t.Context()))
			}
			wantDeaf(t, deaf)
			wantMetric(t, deaf, "gateway_ready", "0")
			must(t, f.db().Do(t.Context(), "ACL", "SETUSER", "narrow", "+@all").Err())
			must(t, f.proxies[0].Restore())
			must(t, deaf.WaitReady())
			watch.wantAllReady(t)
		})
	}
}

// A master that hangs takes no replica out until it has a successor: the Sentinels,
// or the other masters, show that the replicas' own network works.
func TestReadyWhileAMasterHangs(t *testing.T) {
	t.Parallel()
	soon := []string{"--redis-deaf-after", "1500ms"} // before there is a successor
	for kind, s := range map[string]setup{
		"sentinel": {sentinel: &harness.SentinelOptions{}, flags: soon},
		"cluster":  {cluster: &harness.ClusterOptions{Replicas: true, PartialCoverage: true}, flags: soon},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := own(t, s)
			ch := channel("hist")
			watch := watchReadiness(t, f.replicas...)
			if kind == "sentinel" {
				must(t, f.sentinel.Replicated())
				master, err := f.sentinel.Master()
				must(t, err)
				must(t, master.Freeze())
				t.Cleanup(func() { must(t, master.Thaw()) })
				_, err = f.sentinel.WaitMaster(master)
				must(t, err)
			} else {
				master, err := f.cluster.Owner(ch)
				must(t, err)
				replica, err := f.cluster.ReplicaOf(master)
				must(t, err)
				must(t, master.Freeze())
				t.Cleanup(func() { must(t, master.Thaw()) })
				must(t, harness.Until("the replica is promoted", 2*harness.Deadline, func() error {
					role, err := replica.DB.Do(t.Context(), "ROLE").Slice()
					if err == nil && role[0] != "master" {
						err = fmt.Errorf("it is a %v", role[0])
					}
					return err
				}))
			}
			ready(t, f)
			watch.wantAllReady(t)
			if watch.saw[harness.Degraded] == 0 {
				t.Errorf("nobody noticed: %v", watch.saw)
			}
		})
	}
}
