package sse

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHeartbeats(t *testing.T) {
	for _, tt := range []struct {
		name  string
		event bool
		want  frame
		wire  string
	}{
		{"comments", false, frame{comment: true}, ":\n\n"},
		{"events", true, frame{event: EventHeartbeat, data: "{}"}, "event: gateway.heartbeat\ndata: {}\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				request := session(t, "", "orders")
				request.HeartbeatEvents = tt.event
				s := f.stream(request, newSink())
				opened := len(s.String())
				time.Sleep(16*time.Second - time.Millisecond)
				synctest.Wait()
				if got := s.String()[opened:]; got != "" {
					t.Fatalf("within 16 s came %q", got)
				}
				time.Sleep(8*time.Second + 2*time.Millisecond)
				synctest.Wait()
				if got := s.String()[opened:]; got != tt.wire {
					t.Fatalf("within 24 s came %q, want one heartbeat", got)
				}
				if last := s.frames()[1]; last.comment != tt.want.comment || last.event != tt.want.event || last.data != tt.want.data {
					t.Errorf("a client reads %+v", last)
				}
				// What was sent counts: a busy stream needs no heartbeats.
				busy := len(s.String())
				for range 30 {
					f.broker.publish("orders", "x")
					time.Sleep(5 * time.Second)
				}
				synctest.Wait()
				if got := s.String()[busy:]; strings.Contains(got, "\n:\n") || strings.Contains(got, EventHeartbeat) {
					t.Errorf("a busy stream has heartbeats: %q", got)
				}
				// In an hour of silence, heartbeats keep their distance of 20 s ± 20 %.
				quiet := len(s.String())
				time.Sleep(time.Hour)
				synctest.Wait()
				if n := strings.Count(s.String()[quiet:], tt.wire); n < 150 || n > 225 {
					t.Errorf("%d heartbeats in an hour, want about 180", n)
				}
			})
		})
	}
}

// Streams that began together end one after the other, with what came before.
func TestPathEndsOfAge(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		const age = 500 * time.Millisecond
		f := newFixture(t, path, func(o *Options) { o.MaxAge, o.Heartbeat = age, time.Second })
		var streams []*caller
		begun := time.Now()
		for range 20 {
			streams = append(streams, f.dial("", "a"))
		}
		for _, c := range streams {
			c.want(EventOpen)
		}
		f.count("a", 1, 3)
		for _, c := range streams {
			c.wantNumbers(1, 3)
			wantClose(t, c.want(EventClose), CloseMaxAge)
			c.wantEnd()
			if lasted := time.Since(begun); lasted < age*4/5 {
				t.Errorf("a stream ended after %v", lasted)
			}
		}
		for range streams {
			if reason := <-f.closed; reason != string(CloseMaxAge) {
				t.Errorf("hook was told %q", reason)
			}
		}
	})
}

func TestAgesAreSpread(t *testing.T) {
	h := &Handler{o: Options{MaxAge: 30 * time.Minute}}
	for share, want := range map[float64]time.Duration{0: 24 * time.Minute, 0.5: 30 * time.Minute, 1: 36 * time.Minute} {
		if got := h.lifespan(share); got != want {
			t.Errorf("lifespan(%v) is %v, want %v", share, got, want)
		}
	}
}
