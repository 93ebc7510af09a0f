package channels

import "context"

// fillPage is how many events one read of a fill or a replay asks for: few
// enough that pages of large events stay affordable.
const fillPage = 128

// startFill makes sure that a goroutine brings the log up to date. Called with
// the lock held.
func (t *topic) startFill() {
	if t.filling || !t.heard {
		return
	}
	t.filling = t.hub.spawn(t.fill)
}

// fill reads the stream from the log's end until what is announced joins on.
func (t *topic) fill(ctx context.Context) {
	for {
		t.mu.Lock()
		if !t.heard || ctx.Err() != nil {
			t.filling = false
			t.mu.Unlock()
			return
		}
		t.dirty = false
		// An announcement is made after its event is in the stream: what is
		// pending now is covered by what is read from now on.
		covered := len(t.pending)
		joined, after := t.joined, t.log.end
		t.mu.Unlock()

		var err error
		if joined {
			err = t.catchUp(ctx, after)
		} else {
			err = t.open(ctx)
		}

		t.mu.Lock()
		if err != nil {
			// The next check of the tops, or the next announcement, tries again.
			t.dirty, t.filling = true, false
			t.hub.failed("read history", t.channel, err)
			t.mu.Unlock()
			return
		}
		if t.join(covered) {
			t.filling = false
			t.fills++
			t.wakers.wake()
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
	}
}

// open gives a new topic its place: the stream's present end.
func (t *topic) open(ctx context.Context) error {
	top, err := t.hub.broker.Open(ctx, t.channel)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log.reset(top)
	t.joined = true
	return nil
}

// catchUp appends what the stream has after a position, and a gap where the
// stream does not reach back to it.
func (t *topic) catchUp(ctx context.Context, after Position) error {
	for {
		events, err := t.hub.broker.Read(ctx, t.channel, after, fillPage)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			done, err := t.verifyEnd(ctx, after)
			if done || err != nil {
				return err
			}
			continue
		}
		t.mu.Lock()
		for _, e := range t.chain(after, events) {
			t.push(e)
		}
		after = t.log.end
		t.wakers.wake()
		t.mu.Unlock()
		if len(events) < fillPage {
			return nil
		}
	}
}

// verifyEnd tells whether after, behind which nothing was read, is the end of
// the stream. Where the stream ended elsewhere, it notes the gap.
func (t *topic) verifyEnd(ctx context.Context, after Position) (bool, error) {
	top, err := t.hub.broker.Open(ctx, t.channel)
	if err != nil || top == after {
		return true, err
	}
	// Something may have been published between the two questions.
	events, err := t.hub.broker.Read(ctx, t.channel, after, 1)
	if err != nil || len(events) > 0 {
		return false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.push(t.gapEntry(after, top))
	t.wakers.wake()
	return true, nil
}

// join appends the pending announcements, of which the first covered ones are
// either in the log by now or were never in the stream. It reports whether the
// log is up to date; if not, the stream has to be read again.
func (t *topic) join(covered int) bool {
	covered = min(covered, len(t.pending)) // dropped meanwhile
	for i := range t.pending {
		e := &t.pending[i]
		switch {
		case e.Prev == t.log.end:
			t.push(t.entry(e))
		case !t.log.end.Less(e.Position), i < covered:
		default:
			t.pending = t.pending[i:]
			return false
		}
	}
	t.pending = nil
	return !t.dirty
}
