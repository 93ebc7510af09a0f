package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Counted is the payload of the n-th event of a counted sequence.
func Counted(n int) string { return fmt.Sprintf(`{"type":"count","n":%d}`, n) }

// Send publishes one payload on a channel.
type Send func(ctx context.Context, db redis.UniversalClient, channel, payload string) error

// ByFunction publishes the reliable way.
func ByFunction(ctx context.Context, db redis.UniversalClient, channel, payload string) error {
	return db.FCall(ctx, "gateway_publish", []string{"gw:" + channel}, payload).Err()
}

// Persistently publishes the reliable way, with the payload as event id, again
// and again until Redis has confirmed it.
func Persistently(ctx context.Context, db redis.UniversalClient, channel, payload string) error {
	return Until("publish", 2*Deadline, func() error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		err := db.FCall(ctx, "gateway_publish", []string{"gw:" + channel}, payload, "EVENTID", payload).Err()
		if c, ok := db.(*redis.ClusterClient); ok && err != nil {
			c.ReloadState(ctx) // a master may have died
		}
		return err
	})
}

// ByPublish publishes the simple way.
func ByPublish(ctx context.Context, db redis.UniversalClient, channel, payload string) error {
	return db.Publish(ctx, channel, payload).Err()
}

// Publisher publishes counted events, from 1, on its channels in turn until
// it is stopped.
type Publisher struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	sent int
	err  error
}

// StartPublisher starts it with a pause between any two rounds over all
// channels.
func StartPublisher(db redis.UniversalClient, send Send, pace time.Duration, channels ...string) *Publisher {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Publisher{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for n := 1; ; n++ {
			for _, channel := range channels {
				// A started event is finished: the test must know whether it
				// was published.
				if err := send(context.WithoutCancel(ctx), db, channel, Counted(n)); err != nil {
					p.mu.Lock()
					p.err = fmt.Errorf("publish %d on %s: %w", n, channel, err)
					p.mu.Unlock()
					return
				}
			}
			p.mu.Lock()
			p.sent = n
			p.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return p
}

// More waits until each channel got n events more than now.
func (p *Publisher) More(n int) error {
	before, _ := p.state()
	var failed error
	err := Until("publishing goes on", Deadline, func() error {
		var sent int
		if sent, failed = p.state(); failed == nil && sent < before+n {
			return fmt.Errorf("%d of %d events", sent-before, n)
		}
		return nil
	})
	return errors.Join(failed, err)
}

func (p *Publisher) state() (sent int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent, p.err
}

// Stop ends it and returns how many events each channel got.
func (p *Publisher) Stop() (int, error) {
	p.cancel()
	<-p.done
	return p.state()
}
