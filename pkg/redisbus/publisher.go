package redisbus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/retry"
)

// PublisherOptions configure a Publisher.
type PublisherOptions struct {
	URL    string // of the gateway's Redis: redis://, redis+sentinel://, redis+cluster://
	TLS    TLS    // files for a URL that begins with rediss
	Prefix string // as the gateway's; if empty, DefaultPrefix
	// Timeout bounds one Publish, retries included, where its context does not.
	// If zero, 10 s.
	Timeout time.Duration
}

// Message is one event to publish.
type Message struct {
	Channel string
	// Payload is any UTF-8 text. A JSON object with a string "type" is the
	// event itself; see channels.Render.
	Payload string
	// EventID identifies the event: published again within the idempotency
	// window it is not published again. If empty, a random one is made, so
	// that retries cannot duplicate either.
	EventID string
	Type    string        // of the event where the payload names none
	TTL     time.Duration // the age beyond which it is not delivered; zero: the channel's policy
}

// Publisher publishes events to channels, straight to Redis. It needs nothing
// of the gateway's configuration: policies are applied where the event is
// stored. Safe for concurrent use.
type Publisher struct {
	client  redis.UniversalClient
	keys    keys
	timeout time.Duration
	log     *slog.Logger // of what its callers do not get to know; may be nil
	denied  logLimit

	scripting atomic.Bool   // the script is called, in place of the function
	without   *functionless // this Redis has no functions, or not for us

	mu      sync.Mutex
	scripts map[string]*loadedScript // by function; taken from Redis where functions do not exist
}

type loadedScript struct {
	sha     string
	missing bool      // a server did not have it
	since   time.Time // a configuration changed since then brings another
}

// scriptAge is how long a Publisher goes on with a script without asking for a
// newer one.
const scriptAge = 30 * time.Second

// Errors of a Publisher that callers may want to tell apart. All are permanent.
var (
	// ErrInvalid wraps what is wrong with a message.
	ErrInvalid = errors.New("invalid message")
	// ErrRefused wraps what Redis, or the gateway's code in it, answered.
	ErrRefused = errors.New("refused")
	// ErrDenied wraps the answer to a Publisher's own user whom Redis does not
	// let in, or who lacks a right. The call may be a good one.
	ErrDenied = errors.New("denied by Redis")
)

var errNotLoaded = errors.New("the gateway loads its code into Redis: is one running with this Redis and prefix?")

// NewPublisher returns a Publisher. It connects on first use; the error is
// about the options.
func NewPublisher(o PublisherOptions) (*Publisher, error) {
	t, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if err := t.secure(o.TLS); err != nil {
		return nil, err
	}
	if o.Prefix != "" {
		if err := checkPrefix(o.Prefix); err != nil {
			return nil, err
		}
	}
	p := newPublisher(t.client(), o.Prefix)
	if o.Timeout > 0 {
		p.timeout = o.Timeout
	}
	return p, nil
}

// Publisher returns a Publisher over the bus' own connections. It must not be
// closed. That Redis denies something is the gateway's own trouble: the log is
// told.
func (b *Bus) Publisher() *Publisher {
	p := newPublisher(b.client, b.o.Prefix)
	p.log, p.without = b.log, &b.loader.without
	return p
}

func newPublisher(client redis.UniversalClient, prefix string) *Publisher {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return &Publisher{client: client, keys: keys{prefix}, timeout: 10 * time.Second, without: &functionless{}, scripts: make(map[string]*loadedScript)}
}

// Close closes the connections.
func (p *Publisher) Close() error { return p.client.Close() }

// Publish stores and announces one event and returns its position. It retries
// what passes (Redis away, failing over, loading) until ctx or the timeout
// ends; because it always sends an event id, a retry cannot duplicate.
func (p *Publisher) Publish(ctx context.Context, m Message) (channels.Position, error) {
	positions, err := p.PublishMany(ctx, []Message{m})
	if err != nil {
		return channels.Position{}, err
	}
	return positions[0], nil
}

// PublishMany publishes in one round trip, each channel's events in order. The
// events are independent: an error, which joins those of all events that
// failed, does not undo the others, whose positions are not zero. It retries
// like Publish; an event that comes to be published only by a retry can come
// after events behind it in the list.
func (p *Publisher) PublishMany(ctx context.Context, messages []Message) ([]channels.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	todo := make([]*publication, 0, len(messages))
	all := make([]publication, len(messages))
	for i, m := range messages {
		all[i] = publication{message: m}
		if all[i].err = p.check(&all[i].message); all[i].err == nil {
			todo = append(todo, &all[i])
		}
	}
	err := readRetry.Do(ctx, func(ctx context.Context) error {
		var passing error
		todo, passing = p.attempt(ctx, todo)
		return passing
	}, nil)
	for _, left := range todo {
		left.err = fmt.Errorf("publish to %q: %w", left.message.Channel, err)
	}
	positions := make([]channels.Position, len(messages))
	var errs []error
	for i := range all {
		positions[i] = all[i].position
		if all[i].err != nil {
			errs = append(errs, all[i].err)
		}
	}
	return positions, errors.Join(errs...)
}

// publication is one message on its way.
type publication struct {
	message  Message
	position channels.Position
	err      error
}

// check completes a message and says what is wrong with it, as far as that can
// be known without the policies.
func (p *Publisher) check(m *Message) error {
	err := channels.CheckName(m.Channel)
	if err == nil {
		err = p.keys.check(m.Channel)
	}
	switch {
	case err != nil:
	case !utf8.ValidString(m.Payload):
		err = errors.New("the payload is not valid UTF-8")
	case m.EventID != "" && !channels.ValidEventID(m.EventID):
		err = fmt.Errorf("the event id has 1 to %d bytes of UTF-8 without control characters", channels.MaxLabelLen)
	case m.Type != "" && !channels.ValidType(m.Type):
		err = fmt.Errorf("the type has 1 to %d bytes of UTF-8 without control characters and does not begin with %s", channels.MaxLabelLen, channels.ReservedPrefix)
	case m.TTL < 0 || m.TTL%time.Millisecond != 0:
		err = fmt.Errorf("the TTL is %v, allowed are whole milliseconds above 0", m.TTL)
	}
	if err != nil {
		return fmt.Errorf("publish to %q: %w: %w", m.Channel, ErrInvalid, err)
	}
	if m.EventID == "" {
		m.EventID = rand.Text()
	}
	return nil
}

// attempt publishes in one pipeline, and returns what has to be tried again.
func (p *Publisher) attempt(ctx context.Context, todo []*publication) (again []*publication, passing error) {
	if len(todo) == 0 {
		return nil, nil
	}
	sha := ""
	if p.scripting.Load() {
		var err error
		if sha, err = p.loadScript(ctx, fnPublish); err != nil {
			return todo, err
		}
	}
	cmds := make([]*redis.Cmd, len(todo))
	_ = pipelined(ctx, p.client, func(pipe redis.Pipeliner) {
		for i, t := range todo {
			m := &t.message
			args := []any{m.Payload, "EVENTID", m.EventID}
			if m.Type != "" {
				args = append(args, "TYPE", m.Type)
			}
			if m.TTL > 0 {
				args = append(args, "TTL", m.TTL.Milliseconds())
			}
			key := []string{p.keys.stream(m.Channel)}
			if sha != "" {
				cmds[i] = pipe.EvalSha(ctx, sha, key, args...)
			} else {
				cmds[i] = pipe.FCall(ctx, fnPublish, key, args...)
			}
		}
	})
	for i, t := range todo {
		text, err := cmds[i].Text()
		if err == nil {
			t.position, err = channels.ParsePosition(text)
		}
		if err, final := p.judge(err, fnPublish, sha != ""); final {
			t.err = err
			if err != nil {
				t.err = fmt.Errorf("publish to %q: %w", t.message.Channel, err)
			}
		} else {
			again, passing = append(again, t), err
		}
	}
	return again, passing
}

// judge tells what an answer means for a call of a function, or of its script:
// whether it is final, or worth another attempt.
func (p *Publisher) judge(err error, function string, byScript bool) (_ error, final bool) {
	switch {
	case err == nil:
		if !byScript {
			p.without.because(nil)
		}
		return nil, true
	case !byScript && isUnsupported(err):
		p.without.because(err)
		p.scripting.Store(true)
		return err, false
	case isUnloaded(err):
		// The gateway may not be allowed to load functions, or has not yet: its
		// script does the same.
		if byScript {
			p.forgetScripts()
		} else {
			p.without.callable()
		}
		p.scripting.Store(true)
		return fmt.Errorf("%w (%w)", err, errNotLoaded), false
	case byScript && isScriptDenied(err) && !p.without.is():
		p.scripting.Store(false) // only the function can be called
		return fmt.Errorf("functions are not loaded, and scripts are denied (%w): %w", err, errNotLoaded), false
	case isRefusal(err):
		return p.refused(err, function), true
	case isUntrusted(err):
		return err, true
	}
	return err, false
}

// refused is what a caller is told of a refusal.
func (p *Publisher) refused(err error, function string) error {
	switch {
	case redis.IsAuthError(err):
		err = fmt.Errorf("%w, which does not take the user and password of its URL: %w", ErrDenied, err)
	case isDenied(err):
		if isScriptDenied(err) {
			p.scripting.Store(false) // perhaps functions are allowed by the next time
		}
		err = fmt.Errorf("%w: %w", ErrDenied, p.without.explained(err, "call "+function))
	default:
		return fmt.Errorf("%w: %s", ErrRefused, strings.TrimPrefix(err.Error(), "ERR gateway: "))
	}
	if p.log != nil {
		if n, ok := p.denied.allow(time.Now()); ok {
			p.log.Warn("what clients publish cannot be published", "failed", n, "error", err)
		}
	}
	return err
}

// failed is what a caller is told of an error on the way to a script.
func (p *Publisher) failed(err error, function string) error {
	if isRefusal(err) {
		return retry.Permanent(p.refused(err, function))
	}
	return permanent(err)
}

// loadScript takes a function's script's digest from where gateways keep it.
// They load the script too, on every master; only where it was found missing it
// is loaded here. That needs rights which a publisher may lack, and then waits.
func (p *Publisher) loadScript(ctx context.Context, function string) (sha string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.scripts[function]
	if s == nil {
		s = &loadedScript{}
		p.scripts[function] = s
	}
	if s.sha != "" && !s.missing && time.Since(s.since) < scriptAge {
		return s.sha, nil
	}
	sha, err = p.client.HGet(ctx, p.keys.script(), scriptFields[function].sha).Result()
	switch {
	case errors.Is(err, redis.Nil):
		p.scripting.Store(p.without.is()) // perhaps the function is there by now
		err = fmt.Errorf("no gateway has put its script under %s: is one running with this Redis and prefix?", p.keys.script())
		if denied := p.without.denied(); denied != nil {
			err = fmt.Errorf("functions are denied (%w), and %w", denied, err)
		}
		return "", err
	case redis.IsPermissionError(err):
		p.scripting.Store(false) // perhaps the function can be called by now
		if !p.without.is() {
			return "", errNotLoaded
		}
		return "", p.failed(p.without.beside(err), function)
	case err != nil:
		return "", p.failed(err, function)
	}
	if s.missing {
		text, err := p.client.HGet(ctx, p.keys.script(), scriptFields[function].source).Result()
		if err != nil {
			return "", p.failed(err, function)
		}
		load := func(ctx context.Context, c *redis.Client) error { return c.ScriptLoad(ctx, text).Err() }
		if cluster, ok := p.client.(*redis.ClusterClient); ok {
			err = cluster.ForEachMaster(ctx, load)
		} else {
			err = p.client.ScriptLoad(ctx, text).Err()
		}
		if err != nil && !redis.IsPermissionError(err) {
			return "", p.failed(err, function)
		}
		s.missing = false
	}
	s.sha, s.since = sha, time.Now()
	return sha, nil
}

// forgetScripts notes that a server does not have them.
func (p *Publisher) forgetScripts() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.scripts {
		s.missing = true
	}
}
