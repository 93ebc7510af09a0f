package redisbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
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

// link is one subscription connection to Redis, made anew whenever it breaks.
// Anyone may change what is wanted; one goroutine, Run's, applies the changes
// to the connection as differences and in batches.
//
// A connection that is up but delivers nothing is as good as down: the link
// publishes a probe to itself, through the ordinary path of publishing, and
// gives the connection up when it has heard nothing for too long.
type link struct {
	id       string
	target   *target
	commands redis.UniversalClient
	keys     keys
	to       listener
	log      *slog.Logger
	changed  func(up bool, err error) // called on every change of state

	up atomic.Bool

	mu    sync.Mutex
	names map[topicName]*nameState
	dirty []topicName // whose state has to be applied, in order
	kick  chan struct{}
}

// nameState is what is wanted of a name and what the connection was told.
type nameState struct {
	wanted bool
	asked  bool // subscribed, as far as what was sent goes
	acks   int  // answers that are still to come
	queued bool // is in dirty
}

const (
	probeInterval = 2 * time.Second
	deafAfter     = 6 * time.Second // three probes
	// subscribeBatch is how many names go into one command.
	subscribeBatch = 256
)

var linkRetry = retry.Policy{Initial: 50 * time.Millisecond, Max: 2 * time.Second}

var errDeaf = fmt.Errorf("nothing was heard on the subscription connection for %v, not even its own probes", deafAfter)

func newLink(id string, t *target, commands redis.UniversalClient, k keys, to listener, changed func(bool, error), log *slog.Logger) *link {
	return &link{
		id: id, target: t, commands: commands, keys: k, to: to, changed: changed, log: log,
		names: make(map[topicName]*nameState), kick: make(chan struct{}, 1),
	}
}

// want asks for names, in this order.
func (l *link) want(names ...topicName) { l.set(true, names) }

// unwant takes want back.
func (l *link) unwant(names ...topicName) { l.set(false, names) }

func (l *link) set(wanted bool, names []topicName) {
	l.mu.Lock()
	for _, n := range names {
		st := l.names[n]
		if st == nil {
			if !wanted {
				continue
			}
			st = &nameState{}
			l.names[n] = st
		}
		st.wanted = wanted
		l.queueLocked(n, st)
	}
	l.mu.Unlock()
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

func (l *link) queueLocked(n topicName, st *nameState) {
	if !st.queued {
		st.queued = true
		l.dirty = append(l.dirty, n)
	}
}

// run keeps the link up until ctx ends.
func (l *link) run(ctx context.Context) {
	backoff := retry.Backoff{Policy: linkRetry}
	for ctx.Err() == nil {
		err := l.session(ctx)
		wasUp := l.up.Swap(false)
		l.to.deaf(l.forget())
		if ctx.Err() != nil {
			return
		}
		l.changed(false, err)
		if wasUp {
			backoff.Reset()
		}
		select {
		case <-time.After(backoff.Next()):
		case <-ctx.Done():
		}
	}
}

// forget notes that nothing is subscribed any more, and returns what was
// wanted.
func (l *link) forget() []topicName {
	l.mu.Lock()
	defer l.mu.Unlock()
	var wanted []topicName
	l.dirty = l.dirty[:0]
	for n, st := range l.names {
		*st = nameState{wanted: st.wanted}
		if !st.wanted {
			delete(l.names, n)
			continue
		}
		wanted = append(wanted, n)
	}
	// A bare name must be subscribed before the stream of its channel.
	for _, own := range []bool{false, true} {
		for _, n := range wanted {
			if l.keys.own(n.text) == own {
				l.queueLocked(n, l.names[n])
			}
		}
	}
	return wanted
}

// session is the life of one connection. It returns why it ended.
func (l *link) session(ctx context.Context) error {
	options, err := l.target.node(ctx, l.commands)
	if err != nil {
		return err
	}
	client := redis.NewClient(singleUse(options))
	defer client.Close()
	pubsub := client.Subscribe(ctx)
	defer pubsub.Close()
	probe := topicName{text: l.keys.probe(l.id)}
	if err := pubsub.Subscribe(ctx, probe.text); err != nil {
		return err
	}

	var heard atomic.Int64 // when something last came, in Unix nanoseconds
	heard.Store(time.Now().UnixNano())
	broken := make(chan error, 1)
	ready := make(chan struct{})
	go func() { broken <- l.receive(ctx, pubsub, probe, ready, &heard) }()
	defer func() {
		pubsub.Close()
		<-broken // nothing is delivered after deaf
	}()
	end := func(err error) error {
		broken <- err // for the deferred wait
		return err
	}

	probes := time.NewTicker(probeInterval)
	defer probes.Stop()
	for {
		select {
		case <-ready:
			ready = nil
			l.up.Store(true)
			l.changed(true, nil)
		case <-l.kick:
		case <-probes.C:
			if time.Since(time.Unix(0, heard.Load())) > deafAfter {
				return errDeaf
			}
			go l.probe(ctx, probe.text)
			continue
		case err := <-broken:
			return end(err)
		case <-ctx.Done():
			return ctx.Err()
		}
		if ready == nil {
			if err := l.apply(ctx, pubsub); err != nil {
				return err
			}
		}
	}
}

// probe publishes to the link's own ear. Its failure proves nothing about the
// connection that listens.
func (l *link) probe(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, probeInterval)
	defer cancel()
	_ = l.commands.Publish(ctx, name, "").Err()
}

// receive reads until the connection breaks.
func (l *link) receive(ctx context.Context, pubsub *redis.PubSub, probe topicName, ready chan<- struct{}, heard *atomic.Int64) error {
	for {
		m, err := pubsub.Receive(ctx)
		if err != nil {
			return err
		}
		heard.Store(time.Now().UnixNano())
		switch m := m.(type) {
		case *redis.Message:
			if m.Channel != probe.text {
				l.to.message(m.Pattern, m.Channel, m.Payload)
			}
		case *redis.Subscription:
			n := topicName{text: m.Channel, pattern: m.Kind == "psubscribe" || m.Kind == "punsubscribe"}
			if n == probe {
				close(ready)
				continue
			}
			if l.acknowledged(n) {
				l.to.confirmed(n)
			}
		}
	}
}

// acknowledged counts an answer, and reports whether the name is now wanted
// and subscribed.
func (l *link) acknowledged(n topicName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.names[n]
	if st == nil {
		return false
	}
	st.acks--
	if !st.wanted && !st.asked && st.acks == 0 {
		delete(l.names, n)
	}
	return st.wanted && st.asked && st.acks == 0
}

// apply tells the connection what has changed.
func (l *link) apply(ctx context.Context, pubsub *redis.PubSub) error {
	for {
		subscribe, unsubscribe, standing, more := l.differences()
		for _, n := range standing {
			l.to.confirmed(n)
		}
		for _, step := range []struct {
			names   []topicName
			pattern bool
			send    func(context.Context, ...string) error
		}{
			{unsubscribe, false, pubsub.Unsubscribe}, {unsubscribe, true, pubsub.PUnsubscribe},
			{subscribe, false, pubsub.Subscribe}, {subscribe, true, pubsub.PSubscribe},
		} {
			if texts := textsOf(step.names, step.pattern); len(texts) > 0 {
				if err := step.send(ctx, texts...); err != nil {
					return err
				}
			}
		}
		if !more {
			return nil
		}
	}
}

// differences takes a batch of names whose wanted state is not the one the
// connection was told; standing are those wanted again that never left.
func (l *link) differences() (subscribe, unsubscribe, standing []topicName, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.dirty), subscribeBatch)
	for _, name := range l.dirty[:n] {
		st := l.names[name]
		if st == nil {
			continue
		}
		st.queued = false
		switch {
		case st.wanted && !st.asked:
			st.asked = true
			st.acks++
			subscribe = append(subscribe, name)
		case !st.wanted && st.asked:
			st.asked = false
			st.acks++
			unsubscribe = append(unsubscribe, name)
		case st.wanted && st.acks == 0:
			standing = append(standing, name)
		case !st.wanted && st.acks == 0:
			delete(l.names, name)
		}
	}
	l.dirty = l.dirty[n:]
	return subscribe, unsubscribe, standing, len(l.dirty) > 0
}

func textsOf(names []topicName, pattern bool) []string {
	var texts []string
	for _, n := range names {
		if n.pattern == pattern {
			texts = append(texts, n.text)
		}
	}
	return texts
}

// singleUse makes options for a connection that is not made a second time:
// go-redis would reconnect and resubscribe behind our back, and nothing would
// tell that announcements were missed.
func singleUse(o *redis.Options) *redis.Options {
	o.Protocol = 2 // no push frames: only RESP2 is read without look-ahead
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, ioTimeout, ioTimeout
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
