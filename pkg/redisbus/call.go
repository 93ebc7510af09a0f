package redisbus

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/pkg/retry"
)

// caller runs the entry points of gateway.lua, as functions or as scripts.
type caller struct {
	client    redis.UniversalClient
	library   func() *library // the one in use
	functions func() bool     // whether Redis has the library loaded as functions
	without   *functionless
}

// queue adds a call to a pipeline, or runs it where c is a client.
func (c *caller) queue(ctx context.Context, to redis.Cmdable, function, key string, args ...any) *redis.Cmd {
	if c.functions() {
		return to.FCall(ctx, function, []string{key}, args...)
	}
	return to.EvalSha(ctx, c.library().scripts[function].sha, []string{key}, args...)
}

// once is a command that go-redis does not send again by itself. Of a call
// whose answer was lost nobody knows whether it was executed.
type once struct{ *redis.Cmd }

// NoRetry is what go-redis asks.
func (once) NoRetry() bool { return true }

// queueOnce is queue for a call that must not be executed twice.
func (c *caller) queueOnce(ctx context.Context, to redis.Pipeliner, function, key string, args ...any) *redis.Cmd {
	call := []any{"fcall", function, 1, key}
	if !c.functions() {
		call[0], call[1] = "evalsha", c.library().scripts[function].sha
	}
	cmd := redis.NewCmd(ctx, append(call, args...)...)
	cmd.SetFirstKeyPos(3) // where a Cluster client finds the slot
	_ = to.Process(ctx, once{cmd})
	return cmd
}

// pipelined runs a pipeline. Its commands hold what became of them, also where
// none was sent: go-redis does not tell them that Redis refused the connection.
func pipelined(ctx context.Context, client redis.UniversalClient, queue func(redis.Pipeliner)) error {
	cmds, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		queue(p)
		return nil
	})
	if err == nil || slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Err() != nil }) {
		return err
	}
	for _, c := range cmds {
		c.SetErr(err)
	}
	return err
}

// isUnloaded tells whether Redis does not have the code: it was flushed, or a
// master that never had it has taken over.
func isUnloaded(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	return strings.HasPrefix(text, "NOSCRIPT") || strings.Contains(text, "Function not found")
}

// isUnsupported tells whether this Redis does not do functions at all, or not
// for us. That a key is not for us is another matter.
func isUnsupported(err error) bool {
	if err == nil {
		return false
	}
	text := strings.ToLower(err.Error())
	return strings.HasPrefix(text, "err unknown command") ||
		redis.IsPermissionError(err) && (strings.Contains(text, "run the 'fcall") || strings.Contains(text, "run the 'function"))
}

// isRefusal tells whether Redis understood and will say the same again. What
// Redis says of its own state (loading, read-only, no memory, cluster down) is
// none: it passes.
func isRefusal(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return false
	}
	switch {
	case redis.IsLoadingError(err), redis.IsReadOnlyError(err), redis.IsClusterDownError(err),
		redis.IsTryAgainError(err), redis.IsMasterDownError(err), redis.IsMaxClientsError(err),
		redis.IsOOMError(err), isUnloaded(err):
		return false
	}
	if _, moved := redis.IsMovedError(err); moved {
		return false
	}
	if _, ask := redis.IsAskError(err); ask {
		return false
	}
	text := err.Error()
	for _, passing := range []string{"BUSY", "MISCONF", "NOREPLICAS", "UNKILLABLE", "OOM", "READONLY", "ERR This instance has cluster support disabled"} {
		// Redis 6 puts its own words before what a command in a script answered.
		if strings.HasPrefix(text, passing) || strings.Contains(text, ": -"+passing+" ") {
			return false
		}
	}
	return true
}

// isUntrusted tells whether a server's certificate is not to be trusted, which
// another attempt does not change.
func isUntrusted(err error) bool {
	var untrusted *tls.CertificateVerificationError
	return errors.As(err, &untrusted)
}

// permanent marks refusals for package retry.
func permanent(err error) error {
	if isRefusal(err) || errors.Is(err, redis.ErrClosed) || isUntrusted(err) {
		return retry.Permanent(err)
	}
	return err
}
