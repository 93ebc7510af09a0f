package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The faults must be what their names say, or tests that use them test nothing.
func TestProxyFaults(t *testing.T) {
	t.Parallel()
	server, err := NewRedis(t.TempDir())
	must(t, err)
	t.Cleanup(func() { _ = server.Close() })
	ask := func(p *Proxy) (*redis.Client, error) {
		o := directly(p.Addr)
		o.DisableIdentity, o.ReadTimeout = true, time.Second
		c := redis.NewClient(o)
		t.Cleanup(func() { _ = c.Close() })
		return c, c.Ping(t.Context()).Err()
	}
	timeout := func(err error) bool {
		var n net.Error
		return errors.As(err, &n) && n.Timeout()
	}
	for _, test := range []struct {
		name     string
		fault    func(*Proxy) error
		old, new func(error) bool // what a present and a new connection meet
	}{
		{"deafen", (*Proxy).Deafen, timeout, func(err error) bool { return err == nil }},
		{"black hole", (*Proxy).BlackHole, timeout, timeout},
		{"refuse", func(p *Proxy) error { return p.RefuseNext(1) }, func(err error) bool { return err == nil }, func(err error) bool { return err != nil && !timeout(err) }},
		{"reset", func(p *Proxy) error { return p.ResetAfter(3) }, func(err error) bool { return err != nil && !timeout(err) }, func(err error) bool { return err != nil && !timeout(err) }},
		{"cut", func(p *Proxy) error { p.Cut(); return nil }, func(err error) bool { return err != nil && !timeout(err) }, func(err error) bool { return err != nil && !timeout(err) }},
		{"slice", (*Proxy).Slice, func(err error) bool { return err == nil }, func(err error) bool { return err == nil }},
		{"delay", func(p *Proxy) error { return p.Delay(2 * time.Second) }, timeout, timeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, err := NewProxy(server.Addr)
			must(t, err)
			t.Cleanup(p.Close)
			c, err := ask(p)
			must(t, err)
			must(t, test.fault(p))
			if err := c.Ping(t.Context()).Err(); !test.old(err) {
				t.Errorf("a present connection: %v", err)
			}
			if _, err := ask(p); !test.new(err) {
				t.Errorf("a new connection: %v", err)
			}
			must(t, p.Restore())
			if _, err = ask(p); err != nil {
				t.Errorf("restored: %v", err)
			}
		})
	}
}

func TestClusterMovesAndFailsOver(t *testing.T) {
	t.Parallel()
	c, err := NewCluster(t.TempDir(), ClusterOptions{Replicas: true})
	t.Cleanup(func() { must(t, c.Close()) })
	must(t, err)
	owner, err := c.Owner("a")
	must(t, err)
	slot, err := c.Slot("a")
	must(t, err)
	must(t, c.DB.Set(t.Context(), "gw:a", "1", 0).Err())
	added, err := c.AddNode()
	must(t, err)
	var steps []string
	must(t, c.MoveSlot(slot, owner, added, Move{
		Opened:  func() { steps = append(steps, "opened") },
		Moved:   func(key string) { steps = append(steps, key, c.DB.Get(context.Background(), key).Val()) },
		Emptied: func() { steps = append(steps, "emptied") },
	}))
	if got := fmt.Sprint(steps); got != "[opened gw:a 1 emptied]" {
		t.Errorf("the steps were %s", got)
	}
	replica, err := c.ReplicaOf(owner)
	must(t, err)
	must(t, c.Failover(replica))
	if _, err = c.KillMaster(c.Nodes[1]); err != nil {
		t.Fatal(err)
	}
	if got := c.DB.Get(t.Context(), "gw:a").Val(); got != "1" {
		t.Errorf("the key's value is %q", got)
	}
}

func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	s, err := NewSentinel(t.TempDir(), SentinelOptions{Replicas: 1})
	t.Cleanup(func() { must(t, s.Close()) })
	must(t, err)
	must(t, s.DB.Set(t.Context(), "a", "1", 0).Err())
	must(t, s.Replicated())
	must(t, s.Sever())
	must(t, s.DB.Set(t.Context(), "a", "2", 0).Err())
	old, err := s.KillMaster()
	must(t, err)
	second, err := s.WaitMaster(old)
	must(t, err)
	if got, err := second.DB.Get(t.Context(), "a").Result(); got != "1" {
		t.Errorf("the write was not lost: %q, %v", got, err)
	}
	must(t, old.Start())
	must(t, Until("the old master follows", 2*Deadline, func() error { return infoSays(old, "master_link_status", "up") }))
	if _, err := s.Failover(); err != nil {
		t.Error(err)
	}
}

func TestClockShifts(t *testing.T) {
	t.Parallel()
	r, err := NewRedis(filepath.Join(t.TempDir(), "redis"), Durable...)
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	must(t, r.Stop())
	must(t, r.Shift(-5*time.Minute))
	must(t, r.Start())
	now, err := r.DB.Time(t.Context()).Result()
	must(t, err)
	if behind := time.Since(now); behind < 4*time.Minute || behind > 6*time.Minute {
		t.Errorf("the clock is behind by %v, want 5 minutes", behind)
	}
}
