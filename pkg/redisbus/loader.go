package redisbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// loader keeps gateway.lua loaded: as a function library on every master, and
// the scripts' source under one key, from which publishers without functions
// take it.
type loader struct {
	client  redis.UniversalClient
	library func() *library // the one in use
	keys    keys
	log     *slog.Logger
	found   func(context.Context) []any // what kind of Redis it is, for the log
	spare   func() []*redis.Options     // masters of a Cluster that own no slots

	by        identity
	gone      func(replica string) bool
	scripting atomic.Bool
	without   functionless
	told      atomic.Bool
	replaced  atomic.Pointer[string] // info of another configuration that is loaded, and the log was told
}

// functions tells whether the library is loaded as functions.
func (l *loader) functions() bool { return !l.scripting.Load() }

// ensure loads what is missing or outdated. Safe to call at any time and from
// any replica; it costs a few round trips when all is well.
func (l *loader) ensure(ctx context.Context) error {
	if l.by.stamp == 0 {
		now, err := l.client.Time(ctx).Result()
		if err != nil {
			return explained(err, "ask for the time")
		}
		l.by.stamp = now.UnixMilli()
	}
	err := l.eachMaster(ctx, l.ensureFunctions)
	switch {
	case isUnsupported(err):
		l.without.because(err)
		if !l.scripting.Swap(true) && isDenied(err) {
			l.log.Warn("redis denies functions, so scripts are called in their place", "error", explained(err, "load and call functions"))
		}
		err = nil
	case err == nil:
		// Perhaps the right was given.
		l.without.because(nil)
		l.scripting.Store(false)
	}
	var away *someAwayError // of the masters; the others are served
	if err != nil && !errors.As(err, &away) {
		return err
	}
	if err := l.eachMaster(ctx, l.ensureScripts); err != nil && !errors.As(err, &away) {
		return err
	}
	if !l.told.Swap(true) {
		how := "functions"
		if l.scripting.Load() {
			how = "scripts"
		}
		l.log.Info("redis serves the gateway's library", append(l.found(ctx), "as", how)...)
	}
	if err := l.ensureSource(ctx); err != nil && away == nil {
		return err
	}
	if l.without.denied() != nil {
		if err := l.eachMaster(ctx, l.checkCallable); err != nil && !errors.As(err, &away) {
			return err
		}
	}
	if away != nil {
		return away
	}
	return nil
}

func (l *loader) eachMaster(ctx context.Context, do func(context.Context, *redis.Client) error) error {
	switch c := l.client.(type) {
	case *redis.ClusterClient:
		return eachMaster(ctx, c, l.spare(), do)
	case *redis.Client:
		return do(ctx, c)
	}
	return fmt.Errorf("redisbus: unexpected client %T", l.client)
}

func (l *loader) ensureFunctions(ctx context.Context, c *redis.Client) error {
	info, err := c.FCall(ctx, fnInfo, nil).Text()
	if err != nil && !isUnloaded(err) {
		return err
	}
	if err == nil {
		outdated, err := l.library().outdates(info, l.by, l.gone)
		if !outdated {
			if err == nil && !strings.Contains(info, l.library().digest) {
				if told := l.replaced.Swap(&info); told == nil || *told != info {
					l.log.Warn(whyItStays(info), "loaded", info)
				}
			}
			return err
		}
	}
	if err := c.FunctionLoadReplace(ctx, l.library().functions(l.by)).Err(); err != nil {
		return err
	}
	l.log.Info("loaded the function library into redis", "address", c.Options().Addr)
	return nil
}

// whyItStays says what it means that the library with that info, of other
// settings than this replica's, is left where it is.
func whyItStays(info string) string {
	if ofNewer(info) {
		return "the library of a newer gateway is in this Redis, and its policies apply to publishing; they stay when it has gone: if none will come back, see Rolling back in docs/upgrade.md"
	}
	return "another replica has loaded other policies into this Redis; while it lives they apply to publishing, and channels that they lack cannot be opened"
}

// ensureScripts loads the scripts: all of them where there are no functions,
// and those for others everywhere, who may call EVALSHA.
func (l *loader) ensureScripts(ctx context.Context, c *redis.Client) error {
	var shas, sources []string
	for _, e := range entryPoints {
		if s := l.library().scripts[e.function]; l.scripting.Load() || scriptFields[e.function].sha != "" {
			shas, sources = append(shas, s.sha), append(sources, s.source)
		}
	}
	exists, err := c.ScriptExists(ctx, shas...).Result()
	if err != nil {
		if !l.scripting.Load() && redis.IsPermissionError(err) {
			return nil // functions are enough
		}
		return l.without.explained(err, "look for its scripts")
	}
	for i, source := range sources {
		if !exists[i] {
			if err := c.ScriptLoad(ctx, source).Err(); err != nil {
				return l.without.explained(err, "load its scripts")
			}
		}
	}
	return nil
}

// checkCallable tells whether scripts may be called where functions may not,
// which nothing else here shows. Without a key this one does nothing.
func (l *loader) checkCallable(ctx context.Context, c *redis.Client) error {
	if err := c.EvalSha(ctx, l.library().scripts[fnLast].sha, nil).Err(); isScriptDenied(err) {
		return l.without.explained(err, "call its scripts")
	}
	return nil
}

// scriptFields is where in the scripts' hash others find what they may call.
var scriptFields = map[string]struct{ sha, source string }{
	fnPublish:    {"sha", "source"},
	fnDisconnect: {"disconnect-sha", "disconnect-source"},
}

// ensureSource keeps the scripts where those look who call them.
func (l *loader) ensureSource(ctx context.Context) error {
	key := l.keys.script()
	info, err := l.client.HGet(ctx, key, "info").Result()
	if err != nil && err != redis.Nil {
		return explained(err, "read the key "+key)
	}
	if err == nil {
		if outdated, err := l.library().outdates(info, l.by, l.gone); !outdated {
			return err
		}
	}
	fields := []any{"info", l.library().info(l.by)}
	for function, names := range scriptFields {
		s := l.library().scripts[function]
		fields = append(fields, names.sha, s.sha, names.source, s.source)
	}
	return explained(l.client.HSet(ctx, key, fields...).Err(), "write the key "+key)
}

// ensureInterval is how often ensure runs while nothing asks for it.
const ensureInterval = time.Second
