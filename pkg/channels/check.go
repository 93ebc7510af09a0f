package channels

import (
	"context"
	"slices"
	"time"
)

// checkBatch is how many channels are checked in one round trip.
const checkBatch = 256

// maxRenewal is the longest that a stream in use goes without having its life
// renewed and its old events trimmed.
const maxRenewal = time.Hour

// check compares every log's end with its stream's, which finds an announcement
// that was lost and had no successor.
func (h *Hub) check(ctx context.Context) {
	if !h.broker.Ready() {
		return // the reconnect reads all channels
	}
	look, renew := h.toCheck()
	for _, part := range []struct {
		topics []*topic
		ask    func(context.Context, []string) []Top
	}{{look, h.broker.Tops}, {renew, h.broker.Open}} {
		for batch := range slices.Chunk(part.topics, checkBatch) {
			if ctx.Err() != nil {
				return
			}
			for i, top := range part.ask(ctx, names(batch)) {
				if top.Err == nil { // the broker reports its own state
					batch[i].checked(top.Position)
				}
			}
		}
	}
}

// toCheck returns the topics whose streams' ends are only to be looked at, and
// those whose streams are to be renewed as well.
func (h *Hub) toCheck() (look, renew []*topic) {
	now := h.now()
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, t := range h.topics {
		t.mu.Lock()
		switch {
		case !t.policy.History() || !t.joined || !t.heard:
		case now.Sub(t.renewed) < min(t.policy.HistoryTTL/4, maxRenewal):
			look = append(look, t)
		default:
			t.renewed = now
			renew = append(renew, t)
		}
		t.mu.Unlock()
	}
	return look, renew
}

func names(topics []*topic) []string {
	list := make([]string, len(topics))
	for i, t := range topics {
		list[i] = t.channel
	}
	return list
}
