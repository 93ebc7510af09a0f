package integration_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
	"realtime-gateway/test/load"
)

// A board of a hundred users and more, as those that asked for the gateway have
// it: writers at a time, everybody on one channel, over two replicas.
const board = `channels:
  - {pattern: "board:*", historySize: 1000, subscribe: public}
  - {pattern: "bulk:*", historySize: 1000, conflate: {by: data.id, window: 100ms}, subscribe: public}
`

// The figures are for reading, and not a promise: other tests run beside this one.
func TestBoardOfManyUsers(t *testing.T) {
	t.Parallel()
	f := own(t, setup{config: board, balanced: true})
	const users, rate = 150, 40
	r, err := load.Run(t.Context(), load.Plan{
		URL: f.balancer.URL() + "/v1/events?channel={channel}", Prefix: "board:", Redis: f.redis.Addr,
		Streams: users, Channels: 1, Time: 4 * time.Second, Rate: rate, Settle: time.Millisecond,
	})
	must(t, err)
	if r.Lost+r.Repeated+r.Disordered+r.Foreign+r.Gaps > 0 || r.Failed > 0 || r.Delivered != users*r.Published || r.Published < rate {
		t.Errorf("%d of %d events were delivered to %d users: %+v", r.Delivered, r.Published, users, r.Tally)
	}
	harness.Figure(t, "%d users on one board, %d changes a second: %d deliveries, from publishing to reading p50 %v, p99 %v, p99.9 %v, at most %v",
		users, rate, r.Delivered, r.Latency.Quantile(0.5), r.Latency.Quantile(0.99), r.Latency.Quantile(0.999), r.Latency.Max())
}

// Two users move one card at the same time: whoever is second, everybody sees
// the same order, and so the same board.
func TestConcurrentUpdatesOfOneCard(t *testing.T) {
	t.Parallel()
	f := own(t, setup{config: board})
	ch := "board:7"
	var viewers []*harness.Stream
	for i := range 20 {
		viewers = append(viewers, open(t, f.url(i), on(ch)))
	}
	const moves = 50
	var writing sync.WaitGroup
	for _, user := range []string{"alice", "bob"} {
		writing.Go(func() {
			for i := range moves {
				payload := fmt.Sprintf(`{"type":"task_status_changed","data":{"id":1,"by":%q,"n":%d}}`, user, i)
				if err := f.redis.DB.FCall(t.Context(), "gateway_publish", []string{"gw:" + ch}, payload, "EVENTID", fmt.Sprint(user, i)).Err(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
	var first []string
	for i, s := range viewers {
		v := wait(t, s, "both users' moves", func(v harness.View) bool { return len(v.Published(ch)) >= 2*moves })
		var order []string
		for _, e := range v.Published(ch) {
			order = append(order, e.EventID)
		}
		if len(order) != 2*moves {
			t.Errorf("viewer %d got %d of %d moves", i, len(order), 2*moves)
		}
		if first == nil {
			first = order
		}
		if !slices.Equal(order, first) {
			t.Errorf("viewer %d saw %v, the first one %v", i, order, first)
		}
	}
}

// A batch that touches few cards often is merged on its way: each viewer gets
// the last state of every card, and not each step.
func TestBatchIsMerged(t *testing.T) {
	t.Parallel()
	f := own(t, setup{config: board})
	ch := "bulk:7"
	a, b := open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))
	const cards, steps = 5, 40
	batch := f.redis.DB.Pipeline()
	want := map[string]string{}
	for step := range steps {
		for card := range cards {
			want[fmt.Sprint(card)] = fmt.Sprint(step)
			batch.FCall(t.Context(), "gateway_publish", []string{"gw:" + ch}, fmt.Sprintf(`{"type":"task_updated","data":{"id":"%d","step":"%d"}}`, card, step))
		}
	}
	if _, err := batch.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, s := range []*harness.Stream{a, b} {
		state := func(v harness.View) map[string]string {
			got := map[string]string{}
			for _, e := range v.Published(ch) {
				var card struct{ Data struct{ ID, Step string } }
				if err := json.Unmarshal([]byte(e.Data), &card); err != nil {
					t.Fatal(err)
				}
				got[card.Data.ID] = card.Data.Step
			}
			return got
		}
		v := wait(t, s, "the last state of every card", func(v harness.View) bool { return maps.Equal(state(v), want) })
		if n := len(v.Published(ch)); n >= cards*steps || len(v.Gaps(ch)) > 0 {
			t.Errorf("viewer %d got %d of %d changes, and %d gaps", i, n, cards*steps, len(v.Gaps(ch)))
		} else {
			t.Logf("viewer %d got %d changes of %d cards for %d that were published", i, n, cards, cards*steps)
		}
	}
}
