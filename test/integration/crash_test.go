package integration_test

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// A replica dies by kill -9. Its clients go on at another one, from where they
// were, on all their channels.
func TestReplicaCrashes(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 3})
	chs, plain := []string{channel("many"), channel("many")}, channel("many")
	all := append([]string{plain}, chs...)
	var clients []*harness.Follower
	for i := range 9 {
		clients = append(clients, follow(t, on(all...), f.url(i), f.url(i+1), f.url(i+2)))
	}
	p := harness.StartPublisher(f.db(), harness.ByFunction, 3*time.Millisecond, chs...)
	q := harness.StartPublisher(f.db(), harness.ByPublish, 5*time.Millisecond, plain)
	for _, g := range f.replicas {
		must(t, p.More(50))
		must(t, g.Kill())
		must(t, p.More(50))
		must(t, g.Start())
		must(t, g.WaitReady())
	}
	last, err := p.Stop()
	must(t, err)
	lastPlain, err := q.Stop()
	must(t, err)
	for i, c := range clients {
		for _, ch := range chs {
			waitNumber(t, c, ch, last)
			wantNumbers(t, c.Now().Of(ch), 1, last)
		}
		waitCount(t, c, plain, lastPlain)
		wantOnce(t, c, plain, lastPlain)
		noGaps(t, c)
		if c.Connections() < 2 {
			t.Errorf("client %d was never disconnected", i)
		}
	}
}

// Both recorders leave in order. Plain messages that are published meanwhile
// are recorded by who is left: nobody waits for their leases to end, while
// nobody would hear them.
func TestRecordersLeave(t *testing.T) {
	t.Parallel()
	f := own(t, setup{
		replicas: 3,
		config:   "channels:\n  - {pattern: \"many:**\", historySize: 100000, subscribe: public}\n",
		flags:    []string{"--drain-time", "1s"},
	})
	ch := channel("many")
	// A young replica listens whatever its rank; leases are 3 s.
	outlive(t, f, fcall(t, f, ch, harness.Counted(0)), 7*time.Second)
	var stays *harness.Gateway
	var leave []*harness.Gateway
	for _, g := range f.replicas {
		first, err := metric(g, `gateway_recorder_patterns{role="first"}`)
		must(t, err)
		second, err := metric(g, `gateway_recorder_patterns{role="second"}`)
		must(t, err)
		if first == "0" && second == "0" {
			stays = g
		} else {
			leave = append(leave, g)
		}
	}
	if stays == nil || len(leave) != 2 {
		t.Fatalf("of 3 replicas %d are recorders, want 2", len(leave))
	}
	// It goes on listening for a while after it is young no more.
	must(t, harness.Until("only the recorders listen", harness.Deadline, func() error {
		clients, err := f.db().ClientList(t.Context()).Result()
		listening := len(regexp.MustCompile(` psub=[2-9]`).FindAllString(clients, -1))
		if err == nil && listening != len(leave) {
			err = fmt.Errorf("%d listen", listening)
		}
		return err
	}))
	s := open(t, stays.URL(), on(ch))
	p := harness.StartPublisher(f.db(), harness.ByPublish, 5*time.Millisecond, ch)
	must(t, p.More(20))
	gone := make(chan error, len(leave))
	for _, g := range leave {
		go func() {
			code, err := g.Process().Terminate()
			if err == nil && code != 0 {
				err = fmt.Errorf("exit code %d", code)
			}
			gone <- err
		}()
	}
	for range leave {
		must(t, <-gone)
	}
	must(t, p.More(100))
	last, err := p.Stop()
	must(t, err)
	waitCount(t, s, ch, last)
	waitRecorded(t, f, ch, last+1)
	// Recorders that hand over to each other keep no order.
	wantOnce(t, s, ch, last)
	noGaps(t, s)
	stillOpen(t, s)
}

// wantOnce checks that each of the counted events 1 to last was heard once, in
// any order.
func wantOnce(t *testing.T, l listener, ch string, last int) {
	t.Helper()
	times := map[int]int{}
	for _, e := range l.Now().Published(ch) {
		times[e.N]++
	}
	var lost, doubled []int
	for n := 1; n <= last; n++ {
		switch times[n] {
		case 0:
			lost = append(lost, n)
		case 1:
		default:
			doubled = append(doubled, n)
		}
	}
	if len(lost)+len(doubled) > 0 {
		t.Errorf("of %d events %d were lost %v and %d came more than once %v", last, len(lost), lost, len(doubled), doubled)
	}
}
