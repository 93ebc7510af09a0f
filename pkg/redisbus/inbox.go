package redisbus

import (
	mathrand "math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"realtime-gateway/pkg/channels"
)

// heard is one message of the link, in its order.
type heard struct {
	pattern, name, text string
	broken              bool      // instead: messages may have been missed before this
	from                time.Time // no record of it is older
}

// confirmed implements listener.
func (r *recorder) confirmed(n topicName) {
	r.mu.Lock()
	delete(r.deafTo, n)
	again := r.missing && n == r.records()
	if again {
		r.missing = false
	}
	r.mu.Unlock()
	if again {
		r.put(heard{broken: true}) // what was recorded since deaf has been missed too
	}
	r.settle()
}

// deaf implements listener.
func (r *recorder) deaf(names []topicName) {
	r.hearing.Store(false)
	r.breaks.Add(1)
	r.mu.Lock()
	r.missing = true
	for _, n := range names {
		r.deafTo[n] = true
	}
	for p := range r.since {
		r.since[p] = r.listensFrom()
	}
	r.mu.Unlock()
	r.put(heard{broken: true})
}

// message implements listener.
func (r *recorder) message(pattern, name, text string) {
	if name == r.bus.keys.recorded() {
		if channel, position, ok := parseAnnounced(text); ok {
			r.announcer.announced(channel, position)
			return
		}
	} else if strings.HasPrefix(text, hintMark) {
		r.hinted(pattern, name, text)
		return
	}
	r.put(heard{pattern: pattern, name: name, text: text})
}

// hinted has an event announced. It does not stand in the queue of payloads: its
// place in the stream is settled, and no payload's depends on it.
func (r *recorder) hinted(pattern, channel, text string) {
	if p := r.bus.o.Policies.For(channel); p == nil || !p.History() || channels.CheckName(channel) != nil || r.bus.keys.own(channel) {
		return // heard too much
	}
	position, ok := parseHint(text)
	if !ok {
		r.reject(channel, "payload")
		return
	}
	r.mu.Lock()
	first := r.first[pattern]
	r.mu.Unlock()
	due := time.Now()
	if !first {
		due = due.Add(standIn + mathrand.N(standIn/4))
	}
	r.announcer.heard(channel, position, due)
}

func (r *recorder) put(m heard) {
	r.mu.Lock()
	payload := !m.broken && m.name != r.bus.keys.recorded()
	full := payload && (r.pending >= maxPending || r.bytes+len(m.text) > maxPendingBytes)
	if payload {
		// It is recorded after it was published: not before this replica listened,
		// and not before what had been heard then.
		m.from = time.Unix(0, r.link.floor.Load()).Add(-clockSlack)
		if since := r.since[m.pattern]; since.After(m.from) {
			m.from = since
		}
	}
	if !full {
		r.inbox = append(r.inbox, m)
		if payload {
			r.pending++
			r.bytes += len(m.text)
		}
	}
	r.mu.Unlock()
	if full {
		r.reject(m.name, "overload")
		return
	}
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *recorder) take() []heard {
	r.mu.Lock()
	defer r.mu.Unlock()
	inbox := r.inbox
	r.inbox = nil
	return inbox
}

// done gives back the room of a payload that waits no longer.
func (r *recorder) done(payload string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending--
	r.bytes -= len(payload)
}

// rejects says why a plain payload is not accepted, or nothing.
func rejects(payload string, limit int) string {
	if len(payload) > limit || !utf8.ValidString(payload) {
		return "payload"
	}
	return ""
}

// refusedAs says why gateway.lua does not record a plain payload. The library
// that is loaded may be of a gateway with other settings.
func refusedAs(err error) string {
	if text := err.Error(); strings.Contains(text, "no channel policy matches") || strings.Contains(text, "has no history to record in") {
		return "policy"
	}
	return "payload"
}

// reject counts a payload that is not delivered. Its publisher cannot be told,
// so the log is, now and then.
func (r *recorder) reject(channel, reason string) {
	if h := r.bus.o.Hooks.Rejected; h != nil {
		h(reason)
	}
	if n, ok := r.rejected.allow(time.Now()); ok {
		what := "a payload that came by PUBLISH is too long or not valid UTF-8 and was dropped"
		switch reason {
		case "prefix":
			what = "what came by PUBLISH under the name of a stream is no announcement and was ignored; publish to the bare name of the channel"
		case "policy":
			what = "a payload that came by PUBLISH was dropped: by the policies that are loaded in Redis, which are another gateway's, its channel has no history; give all gateways the same"
		case "overload":
			what = "payloads come by PUBLISH faster than they can be recorded and were dropped; publish with FCALL gateway_publish, or reliably and faster"
		}
		r.log.Warn(what, "channel", channel, "dropped", n)
	}
}
