package main

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"realtime-gateway/test/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Both ends of the benchmark agree: everything that is published arrives once
// and in order, in every kind of measurement.
func TestEveryKindOfMeasurement(t *testing.T) {
	const short = 100 * time.Millisecond
	for name, plan := range map[string]load.Plan{
		"idle":     {Streams: 10, Channels: 1},
		"paced":    {Streams: 20, Channels: 2, Time: short, Rate: 1000},
		"windowed": {Streams: 20, Channels: 1, Time: short, Window: 8},
		"many":     {Streams: 20, Channels: 20, Time: short, Rate: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			plan.URL, plan.Redis = start(t)
			plan.Command, plan.Settle = load.PublishCommand, time.Nanosecond
			r, err := load.Run(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			want := r.Published * uint64(plan.Streams/plan.Channels)
			if r.Delivered != want || r.Lost+r.Repeated+r.Disordered+r.Foreign > 0 || r.Streaming != plan.Streams || r.Latency.Count() != want {
				t.Errorf("%d published, %+v", r.Published, r.Tally)
			}
			if plan.Time > 0 && r.Published == 0 {
				t.Error("nothing was published")
			}
		})
	}
}

// A server without history loses what comes while nobody is there. All else
// would be a fault of the measurement.
func TestStorm(t *testing.T) {
	plan := load.Plan{Streams: 20, Channels: 2, Time: 100 * time.Millisecond, Rate: 1000, Storm: true}
	plan.URL, plan.Redis = start(t)
	plan.Command, plan.Settle = load.PublishCommand, time.Nanosecond
	r, err := load.Run(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if r.CaughtUp != 20 || r.Back.Count() != 20 || r.Streaming != 20 || r.Repeated+r.Disordered > 0 || r.Delivered+r.Lost != 10*r.Published {
		t.Errorf("%d published, %+v", r.Published, r.Tally)
	}
}

func start(t *testing.T) (url, redisAddr string) {
	t.Helper()
	server := miniredis.RunT(t)
	db := redis.NewClient(&redis.Options{Addr: server.Addr()})
	h := newHub(db.Subscribe(t.Context()))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.run(ctx) }()
	s := httptest.NewServer(routes(h))
	t.Cleanup(func() {
		s.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = db.Close()
	})
	return s.URL + "/events?channel={channel}", server.Addr()
}
