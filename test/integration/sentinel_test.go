package integration_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// A failover while events are published: streams stay open, and what Redis
// kept arrives once and in order.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"the master dies", "the old master lives"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			f := own(t, setup{sentinel: &harness.SentinelOptions{}})
			chs := []string{channel("many"), channel("many")}
			quiet, plain := channel("hist"), channel("hist")
			all := append([]string{quiet, plain}, chs...)
			streams := []*harness.Stream{open(t, f.url(0), on(all...)), open(t, f.url(1), on(all...))}
			publish(t, f, plain, harness.Counted(1))
			waitRecorded(t, f, plain, 1)
			must(t, f.sentinel.Replicated())
			watch := watchReadiness(t, f.replicas...)
			p := harness.StartPublisher(f.db(), harness.Persistently, 5*time.Millisecond, chs...)
			must(t, p.More(30))
			if way == "the master dies" {
				old, err := f.sentinel.KillMaster()
				must(t, err)
				_, err = f.sentinel.WaitMaster(old)
				must(t, err)
			} else {
				_, err := f.sentinel.Failover()
				must(t, err)
			}
			must(t, p.More(30))
			last, err := p.Stop()
			must(t, err)
			for _, s := range streams {
				for _, ch := range chs {
					waitNumber(t, s, ch, last)
					if gaps := wantOrder(t, s.Now(), ch, last); len(gaps) > 1 {
						t.Errorf("%d gaps for one failover: %s", len(gaps), harness.View{Events: gaps})
					}
				}
			}
			ready(t, f)
			watch.wantAllReady(t)
			for n := 2; n <= 4; n++ {
				publish(t, f, plain, harness.Counted(n))
			}
			waitRecorded(t, f, plain, 4)
			fcall(t, f, quiet, harness.Counted(1))
			for _, s := range streams {
				waitNumber(t, s, plain, 4)
				wantNumbers(t, s.Now().Published(plain), 1, 4)
				waitNumber(t, s, quiet, 1)
				wantNumbers(t, s.Now().Of(quiet), 1, 1)
			}
			stillOpen(t, streams...)
		})
	}
}

// The new master refuses the first connections, as one does whose address is
// new to the network. Nobody gives up for that.
func TestSentinelFailoverRefusesDials(t *testing.T) {
	t.Parallel()
	f := own(t, setup{sentinel: &harness.SentinelOptions{Proxied: true}})
	ch := channel("hist")
	streams := []*harness.Stream{open(t, f.url(0), on(ch)), open(t, f.url(1), on(ch))}
	count(t, f, ch, 1, 3)
	must(t, f.sentinel.Replicated())
	front := f.sentinel.Proxies[1]
	must(t, front.RefuseNext(20))
	old, err := f.sentinel.KillMaster()
	must(t, err)
	_, err = f.sentinel.WaitMaster(old)
	must(t, err)
	must(t, harness.Until("20 dials are refused", 2*harness.Deadline, func() error {
		if n := front.Refused(); n < 20 {
			return fmt.Errorf("%d dials", n)
		}
		return nil
	}))
	for n := 4; n <= 6; n++ {
		must(t, harness.Persistently(context.Background(), f.db(), ch, harness.Counted(n)))
	}
	for _, s := range streams {
		waitNumber(t, s, ch, 6)
		wantNumbers(t, s.Now().Of(ch), 1, 6)
	}
	ready(t, f)
	stillOpen(t, streams...)
}
