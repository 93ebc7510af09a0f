package sse

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestDrainSpreadsTheEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, over = 50, 20 * time.Second
		f := newFixture(t)
		var streams []*running
		for range n {
			streams = append(streams, f.stream(session(t, "", "orders"), newSink()))
		}
		begin := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- f.handler.Drain(context.Background(), over) }()
		synctest.Wait()
		late := f.stream(session(t, "", "orders"), newSink())
		late.wantEnded(t)
		wantClose(t, late.frames()[0], CloseDraining)

		time.Sleep(over / 2)
		synctest.Wait()
		if left := f.handler.Connections(); left < n/2-1 || left > n/2+1 {
			t.Errorf("after half the time %d of %d are open", left, n)
		}
		f.broker.publish("orders", "until the end")
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > over {
			t.Errorf("took %v of %v", took, over)
		}
		slots := make(map[int]int)
		retries := make(map[time.Duration]int)
		heard := 0
		for _, s := range streams {
			s.wantEnded(t)
			slots[int(s.at.Sub(begin)*n/over)]++
			frames := s.frames()
			last := frames[len(frames)-1]
			wantClose(t, last, CloseDraining)
			retries[last.retry]++
			heard += len(frames) - 2
		}
		if len(slots) != n {
			t.Errorf("ends fall into %d of %d equal parts of the time", len(slots), n)
		}
		if len(retries) < n*3/4 {
			t.Errorf("%d streams were told %d different retries", n, len(retries))
		}
		if heard < n/2-1 {
			t.Errorf("%d streams got the event that came while they were open", heard)
		}
	})
}

// What was announced before a stream ends is delivered before the end.
func TestDrainDeliversWhatCame(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			s := f.stream(session(t, "", "orders"), newSink())
			f.broker.publish("orders", "x")
			if err := f.handler.Drain(context.Background(), 0); err != nil {
				t.Error(err)
			}
			s.wantEnded(t)
			wantData(t, s.frames(), "x")
		})
	}
}

func TestDrainEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		w := newSink()
		s := f.stream(session(t, "", "orders"), w)
		f.stream(session(t, "", "orders"), newSink())
		blocked := make(chan struct{})
		release := sync.OnceFunc(func() { close(blocked) })
		defer release()
		w.flush = func() error { <-blocked; return nil }
		enough := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Minute, enough)
		defer cancel()
		if err := f.handler.Drain(ctx, time.Second); err != enough {
			t.Errorf("drain ended with %v, want the context's cause", err)
		}
		s.wantOpen(t)
		release()
		s.wantEnded(t)
	})
}

func TestDrainOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for range 2 {
			begin := time.Now()
			if err := f.handler.Drain(context.Background(), time.Hour); err != nil || time.Since(begin) > 0 {
				t.Errorf("took %v: %v", time.Since(begin), err)
			}
		}
	})
}
