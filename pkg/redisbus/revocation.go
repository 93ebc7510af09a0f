package redisbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/retry"
)

// Revocation takes a user's rights back before the tokens that give them
// expire: as whole, those of one token, or those to some channels.
type Revocation struct {
	User     string
	Token    string           // the token's id (jti); empty for all tokens
	Channels channels.Pattern // the zero Pattern for the whole connection
	// At is the time by Redis' clock up to which tokens are concerned: one that
	// was issued later is good again. In whole milliseconds.
	At time.Time
	// Until is when all tokens concerned have expired by themselves.
	Until  time.Time
	Reason string // for the user; may be empty
}

// Scope names what is revoked: "user", "token" or "channel".
func (r *Revocation) Scope() string {
	switch {
	case r.Channels.String() != "":
		return "channel"
	case r.Token != "":
		return "token"
	}
	return "user"
}

// Guard is who keeps open connections within their rights. Its methods are
// called from several goroutines.
type Guard interface {
	// Revoked tells of a revocation, at least once to each replica that hears
	// Redis, and before anything is announced that was published after it. It
	// must not block.
	Revoked(Revocation)
	// Refresh reads, with Bus.Revocations, what may have been missed, and acts
	// on it before it returns. A link that was away hears nothing of channels
	// until then.
	Refresh(context.Context) error
}

// errRevocation is what parsing reports; the text may be anybody's.
var errRevocation = errors.New("not a revocation")

// parseRevocation reads what gateway.lua publishes:
// "<at> <until>\n<user>\n<token>\n<channels>\n<reason>".
func parseRevocation(text string) (Revocation, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 5 || lines[1] == "" {
		return Revocation{}, errRevocation
	}
	return newRevocation(lines[1], lines[2]+"\n"+lines[3], lines[0]+" "+lines[4])
}

// newRevocation reads a field of a user's hash.
func newRevocation(user, field, value string) (Revocation, error) {
	r := Revocation{User: user}
	var pattern, at, until string
	var ok bool
	if r.Token, pattern, ok = strings.Cut(field, "\n"); !ok {
		return Revocation{}, errRevocation
	}
	at, value, _ = strings.Cut(value, " ")
	until, r.Reason, _ = strings.Cut(value, " ")
	var err error
	if r.At, err = parseMillis(at); err != nil {
		return Revocation{}, err
	}
	if r.Until, err = parseMillis(until); err != nil {
		return Revocation{}, err
	}
	if pattern != "" {
		if r.Channels, err = channels.ParsePattern(pattern); err != nil {
			return Revocation{}, errRevocation
		}
	}
	return r, nil
}

func parseMillis(text string) (time.Time, error) {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms < 0 {
		return time.Time{}, errRevocation
	}
	return time.UnixMilli(ms), nil
}

// Revocations are what Redis knows of one user.
type Revocations struct {
	List []Revocation
	Err  error // then it could not be read
}

// usersBatch is how many users are read in one round trip.
const usersBatch = 512

// Revocations reads what has been taken from each of these users, in few round
// trips. What is no revocation, which somebody must have put there by hand, is
// reported as an error: it may have been meant as one.
func (b *Bus) Revocations(ctx context.Context, users []string) []Revocations {
	all := make([]Revocations, 0, len(users))
	for batch := range slices.Chunk(users, usersBatch) {
		cmds := make([]*redis.MapStringStringCmd, len(batch))
		b.together(ctx, func(ctx context.Context, p redis.Pipeliner) {
			for i, user := range batch {
				cmds[i] = p.HGetAll(ctx, b.keys.user(user))
			}
		})
		for i, user := range batch {
			r := readRevocations(user, cmds[i])
			r.Err = explained(r.Err, "read what was revoked from the key "+b.keys.user("<user>"))
			all = append(all, r)
		}
	}
	return all
}

func readRevocations(user string, cmd *redis.MapStringStringCmd) Revocations {
	fields, err := cmd.Result()
	if err != nil {
		return Revocations{Err: err}
	}
	var list []Revocation
	for field, value := range fields {
		r, err := newRevocation(user, field, value)
		if err != nil {
			return Revocations{Err: fmt.Errorf("a field of the user's hash is %w", err)}
		}
		list = append(list, r)
	}
	return Revocations{List: list}
}

// Revoke puts a revocation into Redis again that Redis has lost.
func (b *Bus) Revoke(ctx context.Context, r Revocation) error {
	ctx, cancel := context.WithTimeout(ctx, 2*ioTimeout)
	defer cancel()
	args := append(r.args(), "AT", r.At.UnixMilli(), "TTL", r.Until.Sub(r.At).Milliseconds())
	if err := b.call.queue(ctx, b.client, fnDisconnect, b.keys.user(r.User), args...).Err(); err != nil {
		return fmt.Errorf("redisbus: revoke: %w", b.noted(err))
	}
	return nil
}

// Disconnect takes rights of r.User back, on all replicas and also on those that
// are away at this moment: their connections end, or lose the channels, and
// their tokens are refused. It returns the time up to which tokens are
// concerned. r.At is not looked at; r.Until, if not zero, is how long the
// revocation holds, else 30 days. It tries again like Publish; the errors are
// of the same kinds. Twice is as good as once.
func (p *Publisher) Disconnect(ctx context.Context, r Revocation) (time.Time, error) {
	if r.User == "" || len(r.User) > channels.MaxLabelLen {
		return time.Time{}, fmt.Errorf("disconnect: %w: the user has %d bytes, allowed are 1 to %d", ErrInvalid, len(r.User), channels.MaxLabelLen)
	}
	args := r.args()
	if !r.Until.IsZero() {
		args = append(args, "TTL", max(time.Until(r.Until).Milliseconds(), 1))
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var at time.Time
	err := readRetry.Do(ctx, func(ctx context.Context) error {
		var cmd *redis.Cmd
		key := []string{p.keys.user(r.User)}
		byScript := p.scripting.Load()
		if byScript {
			sha, err := p.loadScript(ctx, fnDisconnect)
			if err != nil {
				return err
			}
			cmd = p.client.EvalSha(ctx, sha, key, args...)
		} else {
			cmd = p.client.FCall(ctx, fnDisconnect, key, args...)
		}
		text, err := cmd.Text()
		if err == nil {
			at, err = parseMillis(text)
		}
		err, final := p.judge(err, fnDisconnect, byScript)
		if final && err != nil {
			return retry.Permanent(err)
		}
		return err
	}, nil)
	if err != nil {
		return time.Time{}, fmt.Errorf("disconnect %q: %w", r.User, err)
	}
	return at, nil
}

// args are the options that say what is revoked.
func (r *Revocation) args() []any {
	var args []any
	for _, o := range []struct{ name, value string }{{"CHANNEL", r.Channels.String()}, {"TOKEN", r.Token}, {"REASON", r.Reason}} {
		if o.value != "" {
			args = append(args, o.name, o.value)
		}
	}
	return args
}

// Verify implements channels.Broker: what a link missed may have been a
// revocation.
func (b *Bus) Verify(ctx context.Context) error {
	if b.o.Guard == nil {
		return nil
	}
	return b.o.Guard.Refresh(ctx)
}

// told hands a revocation over that a link heard.
func (b *Bus) told(text string) {
	r, err := parseRevocation(text)
	if err != nil {
		b.record.reject(b.keys.revoked(), "prefix")
		return
	}
	b.o.Guard.Revoked(r)
}
