package redisbus

import (
	"slices"
	"time"

	"realtime-gateway/pkg/channels"
)

// content is a payload on a channel.
type content struct{ channel, digest string }

// plain is a payload that came by PUBLISH and is not known to be recorded.
type plain struct {
	content
	payload string
	due     time.Time         // when to record it, if nobody has
	from    time.Time         // when it was heard, a little early
	since   channels.Position // the Redis time of that
	refused int               // how often Redis knew a record that we had not heard of
	standIn bool              // heard as second recorder
}

// occurrences tells identical payloads apart by counting. A recorder hears
// payloads and records on one connection, in the order in which Redis executed
// them, so a record always is of the oldest payload of its content that is
// still waiting here; also its own, where the answer to the call was lost. Not
// safe for concurrent use.
type occurrences struct {
	waiting []*plain     // in the order heard
	done    func(*plain) // called when one waits no longer; may be nil
	// early is how long a record may come before its payload: in a Cluster the
	// two can take different ways. Zero where they cannot.
	early  time.Duration
	missed map[string]bool // channels whose records may have been missed, until their streams are counted
	// held are the channels whose streams have to be counted before anything is
	// recorded there, because records were missed or calls had no answer, and
	// when that may be tried.
	held   map[string]time.Time
	counts map[content]*occurrence
}

type occurrence struct {
	waiting int               // how many of waiting have this content
	last    channels.Position // of the newest record that was seen
	early   []time.Time       // when records came that no payload waited for
	used    time.Time
}

func newOccurrences() *occurrences {
	return &occurrences{counts: make(map[content]*occurrence), missed: make(map[string]bool), held: make(map[string]time.Time)}
}

func (o *occurrences) of(c content, now time.Time) *occurrence {
	n := o.counts[c]
	if n == nil {
		n = &occurrence{}
		o.counts[c] = n
	}
	n.used = now
	return n
}

// heard adds a payload, unless its record has come already.
func (o *occurrences) heard(p *plain, now time.Time) {
	n := o.of(p.content, now)
	for len(n.early) > 0 {
		came := n.early[0]
		n.early = n.early[1:]
		if now.Sub(came) <= o.early {
			if o.done != nil {
				o.done(p)
			}
			return
		}
	}
	n.waiting++
	o.waiting = append(o.waiting, p)
}

// recorded notes a record at position: it is of the oldest payload that waits,
// if any does. What was recorded before this recorder listened matches none. A
// record that is known already, from the stream or because this recorder made
// it and got the answer, does not count again.
func (o *occurrences) recorded(c content, position channels.Position, now time.Time) {
	n := o.of(c, now)
	if o.missed[c.channel] && n.waiting > 0 {
		return // those missed come first: the stream is going to tell
	}
	o.count(n, c, position, now)
}

func (o *occurrences) count(n *occurrence, c content, position channels.Position, now time.Time) {
	if !n.last.Less(position) {
		return
	}
	n.last = position
	if n.waiting == 0 {
		if o.early > 0 {
			n.early = append(n.early, now)
		}
		return
	}
	o.remove(o.oldest(c), n)
}

// found notes a record that was read from the stream, which may be ahead of
// what was heard: without a payload that waits it is left to be heard of.
func (o *occurrences) found(c content, position channels.Position, now time.Time) {
	n := o.counts[c]
	if n == nil || n.waiting == 0 {
		return
	}
	if position.Less(o.waiting[o.oldest(c)].since) {
		o.earlier(c, position, now)
		return
	}
	o.count(n, c, position, now)
}

// earlier notes a record that is of none of the waiting payloads, because it
// was made before they came.
func (o *occurrences) earlier(c content, position channels.Position, now time.Time) {
	if n := o.of(c, now); n.last.Less(position) {
		n.last = position
	}
}

// oldest returns the index of the first payload of a content that waits, or -1.
func (o *occurrences) oldest(c content) int {
	return slices.IndexFunc(o.waiting, func(p *plain) bool { return p.content == c })
}

func (o *occurrences) remove(i int, n *occurrence) {
	p := o.waiting[i]
	n.waiting--
	o.waiting = append(o.waiting[:i], o.waiting[i+1:]...)
	if o.done != nil {
		o.done(p)
	}
}

// settle removes a payload that is recorded now or never will be.
// position is zero where there is no record.
func (o *occurrences) settle(p *plain, position channels.Position, now time.Time) {
	n := o.of(p.content, now)
	if n.last.Less(position) {
		n.last = position
	}
	for i, q := range o.waiting {
		if q == p {
			o.remove(i, n)
			return
		}
	}
}

// broken notes that records may have been missed.
func (o *occurrences) broken() {
	for _, p := range o.waiting {
		o.missed[p.channel] = true
		o.held[p.channel] = time.Time{}
	}
}

// counted notes that a channel's stream has been counted.
func (o *occurrences) counted(channel string) {
	delete(o.missed, channel)
	delete(o.held, channel)
}

// uncounted returns what waits, and is due, in channels whose streams have to be
// counted and may be now.
func (o *occurrences) uncounted(now time.Time) map[string][]*plain {
	found := make(map[string][]*plain)
	due := make(map[string]bool)
	for _, p := range o.waiting {
		if at, held := o.held[p.channel]; held && !at.After(now) {
			found[p.channel] = append(found[p.channel], p)
			due[p.channel] = due[p.channel] || !p.due.After(now)
		}
	}
	for channel := range found {
		if !due[channel] {
			delete(found, channel)
		}
	}
	return found
}

// due returns at most limit payloads whose time has come, of channels that are
// not held. None overtakes another of its channel: who has just become first
// recorder still waits for what it heard as second.
func (o *occurrences) due(now time.Time, limit int) []*plain {
	var list []*plain
	behind := make(map[string]bool) // channels where something waits for its time
	for _, p := range o.waiting {
		if len(list) == limit {
			break
		}
		_, held := o.held[p.channel]
		if held || behind[p.channel] || p.due.After(now) {
			behind[p.channel] = true
			continue
		}
		list = append(list, p)
	}
	return list
}

// next returns when the next payload is due, or the stream of its channel may be
// counted.
func (o *occurrences) next() (time.Time, bool) {
	var first time.Time
	seen := make(map[string]bool)
	for _, p := range o.waiting {
		if seen[p.channel] {
			continue // waits for the one before it
		}
		seen[p.channel] = true
		due := p.due
		if at := o.held[p.channel]; at.After(due) {
			due = at
		}
		if first.IsZero() || due.Before(first) {
			first = due
		}
	}
	return first, !first.IsZero()
}

// forget drops what nobody has used since a time: Redis has forgotten it too.
func (o *occurrences) forget(before time.Time) {
	for c, n := range o.counts {
		if n.waiting == 0 && n.used.Before(before) {
			delete(o.counts, c)
		}
	}
	waits := make(map[string]bool)
	for _, p := range o.waiting {
		waits[p.channel] = true
	}
	for channel := range o.held {
		if !waits[channel] {
			o.counted(channel)
		}
	}
}
