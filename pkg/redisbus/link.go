package redisbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/retry"
)

// topicName is something to subscribe to: a Pub/Sub channel or a pattern.
type topicName struct {
	text    string
	pattern bool
}

// listener is told what a link hears. Its methods are called from the link's
// two goroutines and must not block; after deaf nothing comes before confirmed.
type listener interface {
	confirmed(n topicName)           // from now on everything is heard
	message(pattern, name, p string) // pattern is empty for a plain subscription
	deaf(names []topicName)          // nothing of these is heard any more
}

// linkOptions say what a link connects to and how it proves itself.
type linkOptions struct {
	of        string // what it hears, for messages: "redis" or "master"
	sharded   bool   // subscribes to shard channels
	deafAfter time.Duration
	own       func(name string) bool // whether a name is the gateway's own
	// node is where to connect, asked for every connection.
	node func(context.Context) (*redis.Options, error)
	// watch returns as soon as the server at addr is no longer the one to hear,
	// or ctx ends. Nil where that cannot happen.
	watch func(ctx context.Context, addr string) error
	// probe is a name on which the link hears what it publishes to itself. The
	// error says that there is none at the moment.
	probe   func() (string, error)
	publish func(ctx context.Context, name, text string) error
	// control is an ordinary Pub/Sub channel that is heard before anything else,
	// also by links of shards: what comes by it goes to told. refresh makes up for
	// what was said there while the link was not up, and nothing else is
	// subscribed before it has returned. Empty for none.
	control string
	told    func(text string)
	refresh func(context.Context) error
	// misrouted is called when the server says that a name belongs elsewhere.
	misrouted func()
	// changed is called on every change of state, with what went wrong or nil.
	changed func(error)
	lost    func(reason LinkLoss)
	probed  func(roundTrip time.Duration)
	log     *slog.Logger
}

// LinkLoss says why a subscription connection that stood was given up.
type LinkLoss string

// The reasons.
const (
	LinkDeaf   LinkLoss = "deaf"   // nothing was heard for too long
	LinkBroken LinkLoss = "broken" // the connection ended
	LinkMoved  LinkLoss = "moved"  // another server is the one to hear
)

// link is one subscription connection to Redis, made anew whenever it breaks.
// Anyone may change what is wanted; one goroutine, run's, applies the changes
// to the connection as differences and in batches.
//
// A connection that is up but delivers nothing is as good as down: the link
// publishes a probe to itself, through the ordinary path of publishing, and
// gives the connection up when it has heard nothing for too long. What made it
// deaf may go on, so its successor is in trouble until a probe has come by it.
type link struct {
	linkOptions
	to listener

	names *subscriptions
	kick  chan struct{} // what is wanted has changed
	retry chan struct{} // something was refused, and is asked for again after retryRefused
	drop  chan error    // ends the present connection

	up         atomic.Bool
	doubted    atomic.Bool  // the connection before was deaf, and by this one no probe has come yet
	heard      atomic.Int64 // when something last came, in Unix nanoseconds
	floor      atomic.Int64 // what comes now was published after that, likewise
	floorUntil int64        // owned by receive
	sent       atomic.Int64 // when the last probe was sent, likewise
	probing    atomic.Bool
	controlled bool // control is subscribed; owned by receive
	background sync.WaitGroup

	mu    sync.Mutex
	addr  string // of the present connection, or of the last attempt
	cause error  // why the link is not up
	warn  logLimit
}

// retryRefused is how soon a name that the server refused is tried again, and
// retryDenied one for which the link's user lacks the right.
const (
	retryRefused = 200 * time.Millisecond
	retryDenied  = 5 * time.Second
)

var linkRetry = retry.Policy{Initial: 50 * time.Millisecond, Max: 2 * time.Second}

var errMoved = errors.New("another server is the one to hear now")

type deafError struct{ after time.Duration }

func (e deafError) Error() string {
	return fmt.Sprintf("nothing was heard on the subscription connection for %v, not even its own probes", e.after)
}

func newLink(o linkOptions, to listener) *link {
	if o.misrouted == nil {
		o.misrouted = func() {}
	}
	return &link{
		linkOptions: o, to: to, names: newSubscriptions(o.sharded, o.own), cause: errors.New("not connected yet"),
		kick: make(chan struct{}, 1), retry: make(chan struct{}, 1), drop: make(chan error, 1),
	}
}

// want asks for names, in this order.
func (l *link) want(names ...topicName) { l.set(true, names) }

// unwant takes want back.
func (l *link) unwant(names ...topicName) { l.set(false, names) }

func (l *link) set(wanted bool, names []topicName) {
	l.names.set(wanted, names)
	notify(l.kick)
}

// end has the present connection given up.
func (l *link) end(why error) {
	select {
	case l.drop <- why:
	default:
	}
}

// at is where the link is connected, or was last.
func (l *link) at() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addr
}

// leave has the present connection given up unless it is to this server.
func (l *link) leave(addr string) {
	l.mu.Lock()
	elsewhere := l.addr != "" && l.addr != addr
	l.mu.Unlock()
	if elsewhere {
		l.end(fmt.Errorf("%w: commands go to %s", errMoved, addr))
	}
}

// leaveReplaced has the present connection given up if it is to this server, which
// has a successor. It may still carry everything, but it may also hang.
func (l *link) leaveReplaced(addr string) {
	if l.at() == addr {
		l.end(fmt.Errorf("%w: %s is replaced", errMoved, addr))
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// trouble says what is wrong with the link, for an operator; nil if nothing is.
// A probe comes every third of deafAfter, so after two thirds one is missing.
func (l *link) trouble(now time.Time) error {
	l.mu.Lock()
	addr, cause := l.addr, l.cause
	l.mu.Unlock()
	if !l.up.Load() {
		if addr == "" {
			return fmt.Errorf("no connection for events to %s: %w", l.of, cause)
		}
		return fmt.Errorf("no connection for events to %s at %s: %w", l.of, addr, cause)
	}
	if l.doubted.Load() {
		return fmt.Errorf("no events heard from %s %s since the connection was made anew, not even probes", l.of, addr)
	}
	if silence := now.Sub(time.Unix(0, l.heard.Load())); silence > l.deafAfter*2/3+100*time.Millisecond {
		return fmt.Errorf("no events heard from %s %s since %v, not even probes", l.of, addr, silence.Round(100*time.Millisecond))
	}
	return nil
}

// run keeps the link up until ctx ends.
func (l *link) run(ctx context.Context) {
	defer l.background.Wait()
	backoff := retry.Backoff{Policy: linkRetry}
	for ctx.Err() == nil {
		err := l.session(ctx)
		l.mu.Lock()
		l.cause = err
		l.mu.Unlock()
		wasUp := l.up.Swap(false)
		if wasUp && lossOf(err) == LinkDeaf {
			l.doubted.Store(true)
		}
		l.to.deaf(l.names.forget())
		if ctx.Err() != nil {
			return
		}
		if wasUp {
			backoff.Reset()
			if l.lost != nil {
				l.lost(lossOf(err))
			}
		}
		l.misrouted() // a master that went away may have a successor
		l.changed(err)
		select {
		case <-time.After(backoff.Next()):
		case <-ctx.Done():
		}
	}
}

func lossOf(err error) LinkLoss {
	var deaf deafError
	switch {
	case errors.As(err, &deaf):
		return LinkDeaf
	case errors.Is(err, errMoved):
		return LinkMoved
	}
	return LinkBroken
}

// session is the life of one connection. It returns why it ended.
func (l *link) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	select {
	case <-l.drop: // was about the connection before
	default:
	}
	options, err := l.node(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.addr = options.Addr
	l.mu.Unlock()
	client := redis.NewClient(singleUse(options, min(ioTimeout, l.deafAfter)))
	defer client.Close()
	pubsub := client.Subscribe(ctx)
	defer pubsub.Close()
	l.heard.Store(time.Now().UnixNano())
	if l.controlled = l.control == ""; !l.controlled {
		if err := pubsub.Subscribe(ctx, l.control); err != nil {
			return err
		}
	}
	// Answers come in order, so the probe's tells that control is subscribed.
	if err := l.startProbe(ctx, pubsub); err != nil {
		return err
	}

	broken := make(chan error, 1)
	ready := make(chan struct{}, 1)
	go func() { broken <- l.receive(ctx, pubsub, ready) }()
	defer func() {
		pubsub.Close()
		<-broken // nothing is delivered after deaf
	}()
	if l.watch != nil {
		l.background.Go(func() {
			if err := l.watch(ctx, options.Addr); err != nil && ctx.Err() == nil {
				l.end(err)
			}
		})
	}

	probes := time.NewTicker(l.deafAfter / 3)
	defer probes.Stop()
	bars := time.NewTicker(retryDenied)
	defer bars.Stop()
	var again <-chan time.Time
	var refreshed chan error
	for {
		select {
		case <-ready:
			if l.up.Load() || refreshed != nil {
				break
			}
			refreshed = make(chan error, 1)
			if l.control == "" {
				refreshed <- nil
				continue
			}
			l.background.Go(func() { refreshed <- l.refresh(ctx) })
			continue
		case err := <-refreshed:
			if err != nil {
				return fmt.Errorf("read what was revoked meanwhile: %w", err)
			}
			l.up.Store(true)
			if l.doubted.Load() {
				l.sendProbe(ctx)
			}
			l.changed(nil)
		case <-l.kick:
		case <-l.retry:
			if again == nil {
				again = time.After(retryRefused)
			}
			continue
		case <-again:
			again = nil
			if l.names.retry() {
				if err := l.startProbe(ctx, pubsub); err != nil {
					return err
				}
			}
		case <-bars.C:
			l.names.unbar()
		case <-probes.C:
			if time.Since(time.Unix(0, l.heard.Load())) > l.deafAfter {
				return deafError{l.deafAfter}
			}
			l.sendProbe(ctx)
			continue
		case err := <-l.drop:
			return err
		case err := <-broken:
			broken <- err // for the deferred wait
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		if l.up.Load() {
			if err := l.apply(ctx, pubsub); err != nil {
				return err
			}
		}
	}
}

// startProbe subscribes to what the link publishes to itself.
func (l *link) startProbe(ctx context.Context, pubsub *redis.PubSub) error {
	name, err := l.probe()
	if err != nil {
		return err
	}
	return l.send(ctx, pubsub, l.names.startProbe(topicName{text: name}))
}

// sendProbe publishes to the link's own ear, unless the probe before is still
// on its way. Its failure proves nothing about the connection that listens.
func (l *link) sendProbe(ctx context.Context) {
	if l.probing.Swap(true) {
		return
	}
	name := l.names.probeName()
	l.background.Go(func() {
		defer l.probing.Store(false)
		ctx, cancel := context.WithTimeout(ctx, l.deafAfter/3)
		defer cancel()
		now := time.Now().UnixNano()
		l.sent.Store(now)
		_ = l.publish(ctx, name.text, strconv.FormatInt(now, 10))
	})
}

// receive reads until the connection breaks.
func (l *link) receive(ctx context.Context, pubsub *redis.PubSub, ready chan struct{}) error {
	for {
		m, err := pubsub.Receive(ctx)
		now := time.Now().UnixNano()
		if err != nil {
			var answer redis.Error
			denied := isDenied(err)
			if denied && l.controlled {
				// Or one channel that may not be heard would keep all others from it.
				if barred, possible := l.names.denied(); possible {
					l.hear(now)
					l.barred(barred, err)
					continue
				}
			}
			if denied {
				err = explained(err, "subscribe to all of "+l.names.unanswered())
			}
			if !l.sharded || !l.controlled || !errors.As(err, &answer) {
				return err
			}
			l.hear(now)
			l.refused(err)
			continue
		}
		l.hear(now)
		switch m := m.(type) {
		case *redis.Message:
			if m.Channel == l.control && m.Pattern == "" {
				l.told(m.Payload)
				continue
			}
			if l.names.touch(m.Pattern, m.Channel, now) {
				if sent := l.sent.Load(); l.probed != nil && m.Payload == strconv.FormatInt(sent, 10) {
					l.probed(time.Duration(now - sent))
				}
				if l.doubted.Swap(false) {
					l.changed(nil)
				}
				continue
			}
			l.to.message(m.Pattern, m.Channel, m.Payload)
		case *redis.Subscription:
			if m.Channel == l.control {
				if m.Kind != "subscribe" {
					return errors.New("the server ended the subscription to " + l.control)
				}
				l.controlled = true
				continue
			}
			l.answered(m, ready)
		}
	}
}

// hear notes that something came. When nothing had come for long, the process
// may have been stopped, and what comes now have waited since.
func (l *link) hear(now int64) {
	before := l.heard.Swap(now)
	if now-before > int64(time.Second) {
		l.floorUntil = now + int64(time.Second)
		l.floor.Store(before)
	} else if now > l.floorUntil {
		l.floor.Store(before)
	}
}

// answered takes the server's word on a subscription.
func (l *link) answered(m *redis.Subscription, ready chan struct{}) {
	n := topicName{text: m.Channel, pattern: m.Kind == "psubscribe" || m.Kind == "punsubscribe"}
	on := m.Kind == "subscribe" || m.Kind == "psubscribe" || m.Kind == "ssubscribe"
	switch l.names.answered(n, on) {
	case nowHeard:
		l.to.confirmed(n)
	case probeHeard:
		notify(ready)
	case nowDeaf:
		l.to.deaf([]topicName{n})
		fallthrough
	case probeDeaf:
		l.misrouted()
		notify(l.retry)
	case changedMeanwhile:
		notify(l.kick)
	}
}

// refused takes an error that answers a command. Others go on.
func (l *link) refused(err error) {
	_, moved := redis.IsMovedError(err)
	slot := -1
	if moved {
		slot = movedSlot(err)
	}
	l.names.refused(slot)
	notify(l.retry)
	l.misrouted()
	if !moved && !redis.IsClusterDownError(err) && !redis.IsTryAgainError(err) {
		if n, ok := l.warn.allow(time.Now()); ok {
			l.log.Warn("redis refuses a subscription; it is tried again", "error", err, "refused", n)
		}
	}
}

// barred says of a name, if there is one, that it cannot be heard, and has the
// others of its command asked for.
func (l *link) barred(name string, err error) {
	notify(l.kick)
	if name == "" {
		return
	}
	if n, ok := l.warn.allow(time.Now()); ok {
		l.log.Warn("a channel is not heard, all others are; it is tried again", "channel", name,
			"error", explained(err, "subscribe to "+name), "denied", n)
	}
}

// apply tells the connection what has changed.
func (l *link) apply(ctx context.Context, pubsub *redis.PubSub) error {
	for {
		commands, standing, more := l.names.differences()
		for _, n := range standing {
			l.to.confirmed(n)
		}
		for _, c := range commands {
			if err := l.send(ctx, pubsub, c); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

func (l *link) send(ctx context.Context, pubsub *redis.PubSub, c *subscribeCommand) error {
	texts := make([]string, len(c.names))
	for i, n := range c.names {
		texts[i] = n.text
	}
	switch {
	case l.sharded && c.on:
		return pubsub.SSubscribe(ctx, texts...)
	case l.sharded:
		return pubsub.SUnsubscribe(ctx, texts...)
	case c.pattern && c.on:
		return pubsub.PSubscribe(ctx, texts...)
	case c.pattern:
		return pubsub.PUnsubscribe(ctx, texts...)
	case c.on:
		return pubsub.Subscribe(ctx, texts...)
	}
	return pubsub.Unsubscribe(ctx, texts...)
}

// singleUse makes options for a connection that is not made a second time:
// go-redis would reconnect and resubscribe behind our back, and nothing would
// tell that announcements were missed.
func singleUse(o *redis.Options, timeout time.Duration) *redis.Options {
	o.Protocol = 2 // no push frames: only RESP2 is read without look-ahead
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = timeout, timeout, timeout
	o.DisableIdentity, o.ContextTimeoutEnabled = true, true
	o.MaintNotificationsConfig = noNotifications()
	dial := redis.NewDialer(o)
	var used atomic.Bool
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errors.New("the subscription connection broke")
		}
		return dial(ctx, network, addr)
	}
	return o
}
