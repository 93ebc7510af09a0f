package channels

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a Hub.
type Options struct {
	Broker   Broker   // required
	Policies Policies // which channels there are; a channel that matches none is refused
	// Encode makes an event's bytes, once per event and replica. Required; must
	// be safe for concurrent use.
	Encode func(channel string, e *Event) Encoded
	// Linger is how long a channel without subscribers stays subscribed. If
	// zero, 30 s. If negative, not at all.
	Linger time.Duration
	// CheckInterval is how often the log's ends are compared with the streams,
	// which finds a lost last announcement, and renews the streams' lives. Each
	// round is jittered by a fifth. If zero, 10 s.
	CheckInterval time.Duration
	// LogBytes is how many bytes the logs of all channels may hold in memory
	// together. Beyond it the coldest are shortened, and who needs what was there
	// reads it from the stream. If zero, DefaultLogBytes. If negative, no limit.
	LogBytes int64
	Hooks    Hooks
	Logger   *slog.Logger // if nil, slog.Default()
	// Now is the clock by which events age: that of Redis, which dates them, is
	// the same for all replicas. If nil, time.Now.
	Now func() time.Time
}

// Hub fans the events of channels out to the subscribers of this replica. Safe
// for concurrent use. It is a Receiver for its Broker.
type Hub struct {
	broker   Broker
	policies Policies
	encode   func(string, *Event) Encoded
	linger   time.Duration
	interval time.Duration
	renewal  time.Duration
	pending  int // announcements of a topic that may wait
	hooks    Hooks
	log      *slog.Logger
	now      func() time.Time

	work  workers // read pages
	fills filler  // bring logs up to date
	logs  budget  // bounds the logs

	subscribed atomic.Int64 // subscriptions

	mu     sync.RWMutex
	topics map[string]*topic
}

var _ Receiver = (*Hub)(nil)

// ErrUnknownChannel is wrapped by the error for a channel that matches no
// policy.
var ErrUnknownChannel = errors.New("no such channel")

// NewHub returns a hub. It does nothing until Run.
func NewHub(o Options) *Hub {
	h := &Hub{
		broker: o.Broker, policies: o.Policies, encode: o.Encode,
		linger: o.Linger, interval: o.CheckInterval, hooks: o.Hooks, log: o.Logger, now: o.Now,
		renewal: maxRenewal, pending: maxPending, topics: make(map[string]*topic),
	}
	h.fills.hub = h
	h.logs.init(o.LogBytes)
	if h.linger == 0 {
		h.linger = 30 * time.Second
	}
	if h.interval == 0 {
		h.interval = 10 * time.Second
	}
	if h.log == nil {
		h.log = slog.Default()
	}
	if h.now == nil {
		h.now = time.Now
	}
	return h
}

// Run checks the streams' tops until ctx ends, then waits for the hub's
// goroutines. It returns ctx's error.
func (h *Hub) Run(ctx context.Context) error {
	h.work.start(ctx)
	h.fills.start(ctx)
	defer h.stop()
	var budget sync.WaitGroup
	defer budget.Wait()
	budget.Go(func() { h.keepBudget(ctx) })
	timer := time.NewTimer(jitter(h.interval))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		h.check(ctx)
		h.retry()
		timer.Reset(jitter(h.interval))
	}
}

func (h *Hub) stop() {
	h.work.wait()
	h.fills.wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		t.mu.Lock()
		if t.linger != nil {
			t.linger.Stop()
		}
		t.endWindow()
		t.mu.Unlock()
	}
}

// Policy returns the channel's policy. The error wraps ErrUnknownChannel where
// there is none, or is a *NameError.
func (h *Hub) Policy(channel string) (*Policy, error) {
	if err := CheckName(channel); err != nil {
		return nil, err
	}
	if err := h.broker.CheckChannel(channel); err != nil {
		return nil, err
	}
	if p := h.policies.For(channel); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%w: %q matches no policy", ErrUnknownChannel, channel)
}

// Now is the time by which events age.
func (h *Hub) Now() time.Time { return h.now() }

// Ready tells whether new subscribers can be served.
func (h *Hub) Ready() bool { return h.broker.Ready() }

// Channels returns how many channels are subscribed for this replica,
// lingering ones included.
func (h *Hub) Channels() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.topics)
}

// Subscribe begins a subscription for each request, which must name distinct
// channels. It never blocks: w is woken when there is something to fetch. The
// error is that of Policy, and then nothing is subscribed.
func (h *Hub) Subscribe(w Waker, requests []Request) (*Subscriber, error) {
	policies := make([]*Policy, len(requests))
	for i, r := range requests {
		p, err := h.Policy(r.Channel)
		if err != nil {
			return nil, err
		}
		policies[i] = p
	}
	s := newSubscriber(h, len(requests))
	for i, r := range requests {
		if s.subs[i] == nil {
			s.subs[i] = &subscription{}
		}
		h.add(s.subs[i], w, r, policies[i])
		s.markOf[i] = -1
		if policies[i].History() {
			s.markOf[i] = int32(len(s.marks))
			s.marks = append(s.marks, Mark{Hash: HashName(r.Channel)})
		}
	}
	return s, nil
}

func (h *Hub) add(s *subscription, w Waker, r Request, p *Policy) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, ok := h.topics[r.Channel]
	if !ok {
		name := strings.Clone(r.Channel) // of a request, which need not be kept
		t = &topic{hub: h, channel: name, policy: p, window: newWindow(p)}
		t.log.budget = &h.logs
		t.log.loose = t.window != nil && !p.History() // see compact
		h.topics[name] = t
		h.broker.Subscribe(name, !p.History())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.linger != nil {
		t.linger.Stop()
		t.linger = nil
	}
	*s = subscription{topic: t, at: len(t.subs), waker: w, group: r.Group, begin: r.Start}
	if s.group == nil {
		s.group = w
	}
	t.subs = append(t.subs, s)
	t.wakers.add(s.group)
	h.subscribed.Add(1)
}

func (h *Hub) release(s *subscription) {
	t := s.topic
	h.subscribed.Add(-1)
	t.mu.Lock()
	last := len(t.subs) - 1
	t.subs[s.at] = t.subs[last]
	t.subs[s.at].at = s.at
	t.subs[last] = nil
	t.subs = t.subs[:last]
	t.wakers.remove(s.group)
	if t.window != nil && s.final {
		t.window.ending--
	}
	empty := last == 0
	if empty && h.linger > 0 {
		t.linger = time.AfterFunc(h.linger, func() { h.drop(t) })
	}
	t.mu.Unlock()
	if empty && h.linger < 0 {
		h.drop(t)
	}
}

// drop removes a topic that still has no subscribers.
func (h *Hub) drop(t *topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.subs) > 0 || h.topics[t.channel] != t {
		return
	}
	t.heard = false
	t.log.leave()
	t.endWindow()
	delete(h.topics, t.channel)
	h.broker.Unsubscribe(t.channel, !t.policy.History())
}

func (h *Hub) topic(channel string) *topic {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.topics[channel]
}

// Confirmed implements Receiver.
func (h *Hub) Confirmed(channel string) {
	if t := h.topic(channel); t != nil {
		t.confirmed()
	}
}

// Announced implements Receiver.
func (h *Hub) Announced(channel string, e Event) {
	if t := h.topic(channel); t != nil {
		var soon kicks
		t.announced(e, &soon)
		soon.kick()
		h.relieve()
	}
}

// Unclear implements Receiver.
func (h *Hub) Unclear(channel string) {
	if t := h.topic(channel); t != nil {
		t.unclear()
	}
}

// Deaf implements Receiver.
func (h *Hub) Deaf(channels []string) {
	for _, c := range channels {
		if t := h.topic(c); t != nil {
			t.deaf()
		}
	}
}

func (h *Hub) spawn(job func(context.Context)) bool { return h.work.do(job) }

func (h *Hub) failed(what, channel string, err error) {
	if errors.Is(err, context.Canceled) || !h.broker.Ready() {
		return // ending, or an outage, which the broker reports once
	}
	h.log.Warn("cannot "+what, "channel", channel, "error", err)
}
