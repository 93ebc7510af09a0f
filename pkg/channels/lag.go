package channels

// Subscriptions returns how many there are: one for each channel of each
// connection.
func (h *Hub) Subscriptions() int { return int(h.subscribed.Load()) }

// lagSlice is how many subscriptions Lag looks at before it lets go of their
// channel: events must not wait for it.
const lagSlice = 512

// Lag returns how many events the subscription that is furthest behind has not
// been given, of those in the logs, and how many subscriptions are behind by
// more than half their channel's buffer, or read history to catch up. It looks
// at every subscription, without stopping what goes on meanwhile: the answer is
// for people and graphs.
func (h *Hub) Lag() (most int64, behind int) {
	h.mu.RLock()
	topics := make([]*topic, 0, len(h.topics))
	for _, t := range h.topics {
		topics = append(topics, t)
	}
	h.mu.RUnlock()
	for _, t := range topics {
		for from, more := 0, true; more; from += lagSlice {
			var furthest int64
			var late int
			furthest, late, more = t.lagOf(from)
			most, behind = max(most, furthest), behind+late
		}
	}
	return most, behind
}

// lagOf is Lag of one slice of a topic's subscriptions.
func (t *topic) lagOf(from int) (most int64, behind int, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	used := t.log.used
	defer func() { t.log.used = used }() // to look at a log is no use of it
	to := min(from+lagSlice, len(t.subs))
	for _, s := range t.subs[min(from, to):to] {
		switch {
		case s.stage == replaying && s.pos.Less(t.log.end):
			behind++
		case s.stage == following:
			lag := s.lag()
			most = max(most, lag)
			if 2*lag > int64(t.policy.BufferSize) {
				behind++
			}
		}
	}
	return most, behind, to < len(t.subs)
}

// Live returns the position of the i-th channel's last event that was taken,
// where it came after the subscription had reached the log's end: what is
// replayed, or read to catch up, is not live.
func (s *Subscriber) Live(i int) (p Position, live bool) {
	sub := s.subs[i]
	if sub == nil {
		return Position{}, false
	}
	sub.topic.mu.Lock()
	defer sub.topic.mu.Unlock()
	return sub.pos, sub.stage == following && sub.caughtUp && sub.index > sub.due
}

func (h *Hub) dropped(reason DropReason, events int) {
	if h.hooks.Dropped != nil {
		h.hooks.Dropped(reason, events)
	}
}
