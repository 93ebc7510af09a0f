package redisbus

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/channels"
)

// wantRecorded waits until nobody has anything left to record, and compares
// how often each payload stands in the stream.
func wantRecorded(t *testing.T, client *redis.Client, channel string, want map[string]int, buses ...*running) {
	t.Helper()
	total := 0
	for _, n := range want {
		total += n
	}
	eventually(t, fmt.Sprintf("%d entries are there, and nothing waits", total), func() bool {
		for _, b := range buses {
			b.record.mu.Lock()
			pending := b.record.pending
			b.record.mu.Unlock()
			if pending > 0 {
				return false
			}
		}
		return client.XLen(t.Context(), "gw:"+channel).Val() >= int64(total)
	})
	entries, err := client.XRange(t.Context(), "gw:"+channel, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	var last channels.Position
	for _, e := range events(entries) {
		got[e.Payload]++
		if e.Prev != last && !last.IsZero() {
			t.Errorf("the entry at %v names %v, want %v", e.Position, e.Prev, last)
		}
		last = e.Position
	}
	for payload, n := range want {
		if got[payload] != n {
			t.Errorf("%q is recorded %d times, want %d", payload, got[payload], n)
		}
	}
	if len(entries) != total {
		t.Errorf("%d entries, want %d", len(entries), total)
	}
}

// settled waits until all replicas know each other.
func settled(t *testing.T, buses ...*running) {
	t.Helper()
	eventually(t, "all replicas know each other", func() bool {
		for _, b := range buses {
			if len(b.Replicas()) != len(buses) || !b.Ready() {
				return false
			}
		}
		return true
	})
}

func TestPlainPublishIsRecordedOnce(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t)
	a := startBus(t, mini)
	b := startBus(t, mini)
	a.Subscribe("orders", false)
	a.wait("confirmed orders")
	settled(t, a, b)
	want := make(map[string]int)
	for i := range 300 {
		payload := "tick"
		if i%3 == 0 {
			payload = fmt.Sprint(i)
		}
		client.Publish(t.Context(), "orders", payload)
		want[payload]++
	}
	wantRecorded(t, client, "orders", want, a, b)
	// What is recorded is announced like any other event.
	for range 200 {
		a.wait("announced orders tick")
	}
	firsts := len(a.recorded) + len(b.recorded)
	if firsts != 300 {
		t.Errorf("hooks were told of %d records, want 300", firsts)
	}
	// Not recorded: what has no history, no policy, or may not be a payload.
	client.Publish(t.Context(), "status:x", "x")
	client.Publish(t.Context(), "unknown", "x")
	client.Publish(t.Context(), "project:1:other", "x")
	client.Publish(t.Context(), "orders", "\xff")
	for _, r := range []*running{a, b} {
		if got := <-r.rejected; got != "payload" {
			t.Errorf("rejected because of %q", got)
		}
	}
	client.Publish(t.Context(), "project:1:tasks", "x")
	wantRecorded(t, client, "project:1:tasks", map[string]int{"x": 1}, a, b)
	wantRecorded(t, client, "orders", want, a, b)
	for _, key := range []string{"gw:status:x", "gw:unknown", "gw:project:1:other"} {
		if mini.Exists(key) {
			t.Errorf("%s exists", key)
		}
	}
}

// One recorder dies while payloads come: the other stands in for it.
func TestRecorderDies(t *testing.T) {
	t.Parallel()
	for i := range 2 {
		t.Run(fmt.Sprintf("number %d", i), func(t *testing.T) {
			mini, client := miniRedis(t)
			both := []*running{startBus(t, mini), startBus(t, mini)}
			settled(t, both...)
			want := make(map[string]int)
			publish := func(n int) {
				for range n {
					payload := "tick"
					if len(want)%2 == 0 {
						payload = fmt.Sprint(len(want))
					}
					want[payload]++
					client.Publish(t.Context(), "orders", payload)
				}
			}
			publish(100)
			both[i].stop()
			publish(100)
			wantRecorded(t, client, "orders", want, both[1-i])
		})
	}
}

// A recorder that comes later does not know the newest record of a content,
// and must not wait until Redis has forgotten it.
func TestRecorderAfterARestart(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t)
	mini.ClockTTL(false)
	first := startBus(t, mini)
	client.Publish(t.Context(), "orders", "tick")
	wantRecorded(t, client, "orders", map[string]int{"tick": 1}, first)
	first.stop()
	mini.SetTime(time.Now().Add(10 * time.Second))
	second := startBus(t, mini)
	client.Publish(t.Context(), "orders", "tick")
	client.Publish(t.Context(), "orders", "tick")
	wantRecorded(t, client, "orders", map[string]int{"tick": 3}, second)
}

// Payloads that come while Redis refuses to record are recorded when it does
// again, and calls that were executed without an answer are not repeated.
func TestRecorderIsTriedAgain(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t)
	s := &scripts{t: t, mini: mini}
	a := startBus(t, mini)
	b := startBus(t, mini)
	settled(t, a, b)
	record := a.library().scripts[fnRecord].sha
	t.Run("refused", func(t *testing.T) {
		left := interrupt(s, record, 20, loadingError)
		want := make(map[string]int)
		for range 50 {
			client.Publish(t.Context(), "orders", "tick")
			want["tick"]++
		}
		wantRecorded(t, client, "orders", want, a, b)
		if left.Load() > 0 {
			t.Errorf("%d calls were not refused", left.Load())
		}
	})
	t.Run("without an answer", func(t *testing.T) {
		left := interrupt(s, record, 3, executeAndDrop)
		want := make(map[string]int)
		for range 20 {
			client.Publish(t.Context(), "project:1:tasks", "tock")
			want["tock"]++
		}
		wantRecorded(t, client, "project:1:tasks", want, a, b)
		if left.Load() > 0 {
			t.Errorf("%d calls were not interrupted", left.Load())
		}
	})
}

func TestRecorderLeaves(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t)
	a := startBus(t, mini)
	b := startBus(t, mini)
	settled(t, a, b)
	if err := a.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a is gone", func() bool { return len(b.Replicas()) == 1 })
	client.Publish(t.Context(), "orders", "x")
	wantRecorded(t, client, "orders", map[string]int{"x": 1}, a, b)
}

// A replica that listens since half a second cannot have heard what was recorded
// before: the same payload is another one.
func TestTheSamePayloadSoonAfterARestart(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t)
	begin := time.Now()
	mini.SetTime(begin)
	a := startBus(t, mini)
	client.Publish(t.Context(), "orders", "same")
	wantRecorded(t, client, "orders", map[string]int{"same": 1}, a)
	a.stop()
	mini.SetTime(begin.Add(500 * time.Millisecond))
	b := startBus(t, mini)
	client.Publish(t.Context(), "orders", "same")
	wantRecorded(t, client, "orders", map[string]int{"same": 2}, b)
}

// Where the policies loaded in Redis are another gateway's, that is why payloads
// are dropped, and not what is in them.
func TestPayloadsDroppedByThePoliciesOfAnother(t *testing.T) {
	t.Parallel()
	for name, policies := range map[string]channels.Policies{
		"none":       policiesOf(t, channels.Policy{Pattern: patternOf(t, "other"), HistorySize: 1}),
		"no history": policiesOf(t, channels.Policy{Pattern: patternOf(t, "orders")}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			log := &logLines{}
			b := startBusAt(t, "redis://"+s.addr, log.options)
			later := time.Now().Add(time.Hour).UnixMilli()
			s.do("function", "load", "replace", newLibrary("gw", 10, policies, announceEverywhere).functions(identity{stamp: later}))
			s.do("publish", "orders", "x")
			if got := <-b.rejected; got != "policy" {
				t.Errorf("rejected because of %q", got)
			}
			eventually(t, "the log says so", func() bool { return len(log.with("dropped=1")) > 0 })
			if lines := log.with("policies that are loaded"); len(lines) != 1 || !strings.Contains(lines[0], "channel=orders") || strings.Contains(lines[0], "UTF-8") {
				t.Errorf("the log says %q", log.with("PUBLISH"))
			}
		})
	}
}

// In a Cluster a record can come before its payload, elsewhere it cannot.
func TestOnlyInAClusterRecordsMayComeEarly(t *testing.T) {
	for url, early := range map[string]bool{
		"redis://127.0.0.1:1": false, "redis+sentinel://127.0.0.1:1/m": false, "redis+cluster://127.0.0.1:1": true,
	} {
		b, err := Open(Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		if got := b.record.early > 0; got != early {
			t.Errorf("%s: early records are matched: %v, want %v", url, got, early)
		}
		b.client.Close()
	}
}
