package redisbus

import (
	"strings"
	"sync"

	"realtime-gateway/pkg/channels"
)

// routing is where subscriptions go: to the links that hear everything, or in a
// Cluster with sharded Pub/Sub to the shards, and the bare names of channels
// without history to these still, because PUBLISH knows no shards.
type routing struct {
	mu      sync.Mutex
	decided bool
	early   map[string]bool // subscribed before that: whether plain
	plain   map[string]bool // where sharded, the channels heard by their bare names too
}

// decide says how channels are announced, once.
func (b *Bus) decide(sharded bool) {
	b.routing.mu.Lock()
	defer b.routing.mu.Unlock()
	b.sharded.Store(sharded)
	b.routing.decided = true
	b.routing.plain = make(map[string]bool)
	b.detectErr.Store(nil)
	for channel, plain := range b.routing.early {
		b.subscribeLocked(channel, plain)
	}
	b.routing.early = nil
}

// Subscribe implements channels.Broker.
func (b *Bus) Subscribe(channel string, plain bool) {
	b.routing.mu.Lock()
	defer b.routing.mu.Unlock()
	if !b.routing.decided {
		if b.routing.early == nil {
			b.routing.early = make(map[string]bool)
		}
		b.routing.early[channel] = plain
		return
	}
	b.subscribeLocked(channel, plain)
}

func (b *Bus) subscribeLocked(channel string, plain bool) {
	bare, stream := topicName{text: channel}, topicName{text: b.keys.stream(channel)}
	switch {
	case b.sharded.Load() && plain:
		b.routing.plain[channel] = true
		b.links.of(channel).want(bare) // and when that stands, the stream
	case b.sharded.Load():
		b.shards.want(stream)
	case plain:
		// First, so that it stands when the stream's subscription is confirmed.
		b.links.of(channel).want(bare, stream)
	default:
		b.links.of(channel).want(stream)
	}
}

// Unsubscribe implements channels.Broker.
func (b *Bus) Unsubscribe(channel string, plain bool) {
	b.routing.mu.Lock()
	defer b.routing.mu.Unlock()
	bare, stream := topicName{text: channel}, topicName{text: b.keys.stream(channel)}
	switch {
	case !b.routing.decided:
		delete(b.routing.early, channel)
	case b.sharded.Load():
		if plain {
			delete(b.routing.plain, channel)
			b.links.of(channel).unwant(bare)
		}
		b.shards.unwant(stream)
	case plain:
		b.links.of(channel).unwant(bare, stream)
	default:
		b.links.of(channel).unwant(stream)
	}
}

// bareConfirmed goes on with what subscribeLocked began.
func (b *Bus) bareConfirmed(channel string) {
	b.routing.mu.Lock()
	defer b.routing.mu.Unlock()
	if b.routing.plain[channel] {
		b.shards.want(topicName{text: b.keys.stream(channel)})
	}
}

// announcements is the Bus as listener of its own links.
type announcements Bus

func (a *announcements) confirmed(n topicName) {
	if channel, ok := a.keys.channel(n.text); ok {
		a.to.Confirmed(channel)
		return
	}
	if a.sharded.Load() {
		(*Bus)(a).bareConfirmed(n.text)
	}
}

func (a *announcements) message(_, name, text string) {
	channel, ok := a.keys.channel(name)
	if !ok {
		a.plain(name, text)
		return
	}
	e, err := parseAnnouncement(text)
	if err != nil {
		a.record.reject(name, "prefix")
		a.to.Unclear(channel)
		return
	}
	a.to.Announced(channel, e)
}

// plain passes on a payload of a channel without history. Nothing in Redis
// numbers it, so its position is this replica's own time.
func (a *announcements) plain(channel, payload string) {
	if strings.HasPrefix(payload, hintMark) {
		a.hinted(channel, payload)
		return
	}
	if reason := rejects(payload, a.o.MaxPayload); reason != "" {
		a.record.reject(channel, reason)
		return
	}
	a.to.Announced(channel, channels.Event{Position: a.record.localPosition(), Payload: payload})
}

// hinted passes on an event of a channel without history whose publisher may
// not announce.
func (a *announcements) hinted(channel, text string) {
	e, err := parseHintedEvent(text)
	if err != nil || rejects(e.Payload, a.o.MaxPayload) != "" {
		a.record.reject(channel, "payload")
		return
	}
	a.to.Announced(channel, e)
}

func (a *announcements) deaf(names []topicName) {
	list := make([]string, 0, len(names))
	for _, n := range names {
		if channel, ok := a.keys.channel(n.text); ok {
			list = append(list, channel)
		}
	}
	if len(list) > 0 {
		a.to.Deaf(list)
	}
}
