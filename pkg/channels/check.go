package channels

import (
	"context"
	"slices"
	"time"
)

// checkBatch is how many channels are checked in one round trip.
const checkBatch = 256

// maxRenewal is the longest that a stream in use goes without having its life
// renewed, its old events trimmed and its last position compared.
const maxRenewal = time.Minute

// check looks behind every log's end in its stream, which finds an announcement
// that was lost and had no successor. It costs Redis one XRANGE for each
// channel that comes back empty, and nothing on the wire but that.
func (h *Hub) check(ctx context.Context) {
	if !h.broker.Ready() {
		return // the reconnect reads all channels
	}
	look, renew := h.toCheck()
	for batch := range slices.Chunk(look, checkBatch) {
		if ctx.Err() != nil {
			return
		}
		requests, ends := make([]TailRequest, len(batch)), ends(batch)
		for i, t := range batch {
			requests[i] = TailRequest{Channel: t.channel, From: Position{ends[i].Millis, ends[i].Seq + 1}, Limit: 1}
		}
		for i, tail := range h.broker.Tails(ctx, requests) {
			switch {
			case tail.Err != nil: // the broker reports its own state
			case len(tail.Events) == 0:
				batch[i].checked(ends[i], true)
			default:
				batch[i].checked(ends[i], false)
			}
		}
	}
	for batch := range slices.Chunk(renew, checkBatch) {
		if ctx.Err() != nil {
			return
		}
		ends := ends(batch)
		for i, top := range h.broker.Renew(ctx, names(batch)) {
			if top.Err != nil {
				continue
			}
			batch[i].renewedNow()
			if top.Position == ends[i] {
				batch[i].checked(ends[i], true)
			} else {
				batch[i].checked(ends[i], false)
			}
		}
	}
}

// toCheck returns the topics whose streams' ends are only to be looked at, and
// those whose streams are to be renewed as well.
func (h *Hub) toCheck() (look, renew []*topic) {
	now := time.Now()
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, t := range h.topics {
		t.mu.Lock()
		switch {
		case !t.policy.History() || !t.joined || !t.heard:
		case now.Sub(t.renewed) < min(t.policy.HistoryTTL/4, h.renewal):
			look = append(look, t)
		default:
			renew = append(renew, t)
		}
		t.mu.Unlock()
	}
	return look, renew
}

// checked has the log filled where its end, if it still is that, was not the
// stream's.
func (t *topic) checked(end Position, same bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.joined && t.heard && !t.filling && (t.dirty || t.lost != nil || !same && t.log.end == end) {
		t.unheard = t.unheard || !same
		t.miss()
	}
}

func (t *topic) renewedNow() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.renewed = time.Now()
}

// ends returns the positions at which the topics' logs end.
func ends(topics []*topic) []Position {
	list := make([]Position, len(topics))
	for i, t := range topics {
		t.mu.Lock()
		list[i] = t.log.end
		t.mu.Unlock()
	}
	return list
}

func names(topics []*topic) []string {
	list := make([]string, len(topics))
	for i, t := range topics {
		list[i] = t.channel
	}
	return list
}
