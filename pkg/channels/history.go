package channels

import "context"

// History is one page of a channel's past.
type History struct {
	Entries []*Entry // events and gaps, oldest first
	Last    Position // where to go on
	More    bool     // there was more than the limit
}

// History reads at most limit events after a position, or, where after is nil,
// from the oldest that the stream keeps. It asks Redis, whether the channel
// has local subscribers or not, and waits for it until ctx ends. Errors are
// those of Policy and of the Broker.
func (h *Hub) History(ctx context.Context, channel string, after *Position, limit int) (*History, error) {
	policy, err := h.Policy(channel)
	if err != nil {
		return nil, err
	}
	page := &History{}
	if !policy.History() {
		return page, nil
	}
	t := &topic{hub: h, channel: channel, policy: policy}
	var from Position
	if after != nil {
		from = *after
	}
	events, err := h.broker.Read(ctx, channel, from, limit+1)
	if err != nil {
		return nil, err
	}
	var top Top
	if len(events) == 0 {
		if top = h.broker.Open(ctx, []string{channel})[0]; top.Err != nil {
			return nil, top.Err
		}
		if top.Position != from {
			// Something may have been published between the two questions.
			if events, err = h.broker.Read(ctx, channel, from, limit+1); err != nil {
				return nil, err
			}
		}
	}
	if len(events) > limit {
		events, page.More = events[:limit], true
	}
	if after == nil && len(events) > 0 {
		from = events[0].Prev
	}
	page.Last = from
	if len(events) == 0 {
		page.Last = highest(from, top.Position) // a cursor never goes back
		if after != nil && top.Position != from {
			page.Entries = []*Entry{t.gapEntry(from, top.Position)}
		}
		return page, nil
	}
	now := h.now()
	for _, e := range t.chain(from, events) {
		page.Last = e.Position
		if e.Gap == nil && e.expired(now) {
			e = &Entry{Position: e.Position, Gap: &Gap{Channel: channel, Reason: GapExpired, From: e.prev, To: e.Position, Count: 1}}
			if after == nil {
				continue // a reader from the beginning misses nothing
			}
		}
		if n := len(page.Entries); n > 0 && e.Gap != nil && page.Entries[n-1].Gap != nil {
			page.Entries[n-1].Gap.join(e.Gap)
			continue
		}
		page.Entries = append(page.Entries, e)
	}
	return page, nil
}
