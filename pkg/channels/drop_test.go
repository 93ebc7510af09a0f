package channels

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestADroppedChannelGivesNothingMore(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"}, Request{Channel: "b"})
		s.publish("a", "1")
		c.want("1")
		cursor := c.cursor()
		s.publish("a", "pending")
		synctest.Wait()
		c.sub.Drop(0)
		c.sub.Drop(0)
		if !c.sub.Dropped(0) || c.sub.Dropped(1) {
			t.Fatal("the wrong channel is dropped")
		}
		s.publish("a", "later")
		synctest.Wait()
		if got := c.now(); got != nil {
			t.Errorf("after the drop it got %v", got)
		}
		if list, err := c.sub.NextOf(0, time.Now(), nil, 10, 1000); len(list) > 0 || err != nil {
			t.Errorf("NextOf gave %v, %v", list, err)
		}
		s.publish("b", "x")
		c.want("x")
		if !c.sub.Begun(time.Now()) {
			t.Error("it has not begun any more")
		}
		c.sub.Finish()
		c.sub.Close()

		// The place in the dropped channel stayed where it was.
		back := r.resume(t, cursor, "a", "b")
		back.want("pending", "later", "x")
	})
}

func TestTheOnlyChannelDropped(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		c.sub.Drop(0)
		s.publish("a", "1")
		synctest.Wait()
		if frames, n, more := c.sub.Take(time.Now(), 1000); len(frames) > 0 || n > 0 || more {
			t.Errorf("Take gave %q, %d, %v", frames, n, more)
		}
		if got := c.now(); got != nil {
			t.Errorf("it got %v", got)
		}
	})
}

// A drop gives back the page of history that the channel held, which another
// of the subscriber's channels may wait for.
func TestADropGivesBackThePage(t *testing.T) {
	p := history
	p.LastN = 10
	scenario(t, p, func(t *testing.T, s *store, r *replica) {
		names := []string{"a", "b", "c", "d", "e", "f"}
		var requests []Request
		for _, name := range names {
			s.publishNumbers(name, 1, 2)
			requests = append(requests, Request{Channel: name, Start: Start{LastN: 10}})
		}
		c := r.connect(t, requests...)
		c.sub.Drop(0)
		c.sub.Drop(1)
		if got := c.take(8); len(got) != 8 {
			t.Errorf("got %v", got)
		}
		if c.sub.pages != 0 {
			t.Errorf("%d pages are still counted", c.sub.pages)
		}
	})
}

// What a check finds was missed although the link seemed well, so that what
// else it should have told is asked for first.
func TestWhatACheckFindsIsVerifiedFirst(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		r.memory.store.mu.Lock()
		r.unverified = errors.New("not now")
		r.memory.store.mu.Unlock()
		r.drop = 1
		s.publish("a", "1")
		time.Sleep(10 * time.Second) // several checks, in the bubble
		synctest.Wait()
		if got := c.now(); got != nil {
			t.Errorf("unverified it got %v", got)
		}
		r.memory.store.mu.Lock()
		if r.verified == 0 {
			t.Error("nobody asked")
		}
		r.unverified = nil
		r.memory.store.mu.Unlock()
		c.want("1")
	})
}

// So does what a client from another replica, who knows more, has this one read.
func TestWhatAClientIsAheadByIsVerifiedFirst(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		ahead := s.replica(t, policies(t, history)).connect(t, Request{Channel: "a"})
		c := r.connect(t, Request{Channel: "a"})
		r.memory.store.mu.Lock()
		r.unverified, r.unchecked, r.drop = errors.New("not now"), true, 2
		r.memory.store.mu.Unlock()
		s.publishNumbers("a", 1, 2)
		ahead.want("1", "2")
		came := r.resume(t, ahead.cursor(), "a")
		for range 3 {
			if got := append(c.now(), came.now()...); got != nil {
				t.Errorf("unverified they got %v", got)
			}
			time.Sleep(time.Second) // in the bubble
			synctest.Wait()
		}
		r.memory.store.mu.Lock()
		if r.verified == 0 {
			t.Error("nobody asked")
		}
		r.unverified = nil
		r.memory.store.mu.Unlock()
		c.want("1", "2")
		s.publish("a", "3")
		c.want("3")
		came.want("3")
	})
}

// An announcement that is on its way is waited for, which costs nobody a question.
func TestWhatIsAboutToBeAnnouncedIsNotVerified(t *testing.T) {
	scenario(t, history, func(t *testing.T, s *store, r *replica) {
		ahead := s.replica(t, policies(t, history)).connect(t, Request{Channel: "a"})
		c := r.connect(t, Request{Channel: "a"})
		r.memory.store.mu.Lock()
		r.delay = 1
		r.memory.store.mu.Unlock()
		s.publish("a", "1")
		ahead.want("1")
		came := r.resume(t, ahead.cursor(), "a")
		if got := came.now(); got != nil {
			t.Errorf("it got %v", got)
		}
		synctest.Wait()
		r.memory.store.mu.Lock()
		late := r.late
		r.late = nil
		r.memory.store.mu.Unlock()
		if len(late) != 1 {
			t.Fatalf("%d announcements are late", len(late))
		}
		s.heard(r.memory, late[0].channel, late[0].event)
		c.want("1")
		s.publish("a", "2")
		c.want("2")
		came.want("2")
		r.memory.store.mu.Lock()
		defer r.memory.store.mu.Unlock()
		if r.verified != 0 {
			t.Errorf("it was asked %d times", r.verified)
		}
	})
}

// Pages of the past end where the log does: what follows has to be heard.
func TestThePastEndsWithWhatWasHeard(t *testing.T) {
	p := history
	p.LastN = 10
	scenario(t, p, func(t *testing.T, s *store, r *replica) {
		c := r.connect(t, Request{Channel: "a"})
		s.publishNumbers("a", 1, 2)
		c.want("1", "2")
		r.memory.store.mu.Lock()
		r.unverified, r.drop = errors.New("not now"), 2
		r.memory.store.mu.Unlock()
		s.publishNumbers("a", 3, 4)
		came := r.connect(t, Request{Channel: "a", Start: Start{LastN: 10}})
		came.want("1", "2")
		time.Sleep(5 * time.Second) // in the bubble
		synctest.Wait()
		if got := came.now(); got != nil {
			t.Errorf("unheard it got %v", got)
		}
		r.memory.store.mu.Lock()
		r.unverified = nil
		r.memory.store.mu.Unlock()
		came.want("3", "4")
	})
}
