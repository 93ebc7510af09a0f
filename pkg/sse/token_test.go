package sse

import (
	"testing"
	"testing/synctest"
	"time"
)

// A right that ends while a write blocks, or while the stream waits for its
// channels, ends before the next event.
func TestStreamEndsWithItsToken(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			request := session(t, "", "orders")
			request.Expires = time.Now().Add(time.Minute)
			s := f.stream(request, newSink())
			time.Sleep(time.Minute - time.Millisecond)
			f.broker.publish("orders", "in time")
			s.wantOpen(t)
			time.Sleep(time.Millisecond)
			f.broker.publish("orders", "late")
			s.wantEnded(t)
			frames := s.frames()
			wantData(t, frames, "in time")
			wantClose(t, frames[len(frames)-1], CloseTokenExpired)
			if reason := <-f.closed; reason != string(CloseTokenExpired) {
				t.Errorf("hook was told %q", reason)
			}
		})
	})
	t.Run("in the middle of a write", func(t *testing.T) {
		for range 20 { // what is ready at the same time is chosen from by chance
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				request := session(t, "", "orders")
				request.Expires = time.Now().Add(time.Minute)
				w := newSink()
				s := f.stream(request, w)
				w.flush = func() error { time.Sleep(time.Minute); return nil }
				f.broker.publish("orders", "in time")
				synctest.Wait()
				f.broker.publish("orders", "late")
				time.Sleep(2 * time.Minute)
				s.wantEnded(t)
				frames := s.frames()
				wantData(t, frames, "in time")
				wantClose(t, frames[len(frames)-1], CloseTokenExpired)
			})
		}
	})
	t.Run("before it begins", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			f.broker.publish("orders", "1")
			at := f.broker.publish("orders", "2")
			f.broker.publish("orders", "3")
			f.broker.held = true
			request := session(t, NewCursor("orders", at), "orders")
			request.Expires = time.Now().Add(time.Second)
			s := f.stream(request, newSink())
			time.Sleep(2 * time.Second)
			f.broker.hub.Confirmed("orders")
			s.wantEnded(t)
			frames := s.frames()
			wantData(t, frames)
			wantClose(t, frames[len(frames)-1], CloseTokenExpired)
		})
	})
}
