package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// group runs parts that belong together and remembers how they failed.
type group struct {
	ctx    context.Context
	failed chan struct{} // closed when the first part fails

	parts sync.WaitGroup
	once  sync.Once
	mu    sync.Mutex
	errs  []error
}

func newGroup(ctx context.Context) *group {
	return &group{ctx: ctx, failed: make(chan struct{})}
}

// run starts a part. That it ends because the context did is no failure.
func (g *group) run(name string, part func(context.Context) error) {
	g.parts.Go(func() {
		err := part(g.ctx)
		if err == nil || g.ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return
		}
		g.mu.Lock()
		g.errs = append(g.errs, fmt.Errorf("%s: %w", name, err))
		g.mu.Unlock()
		g.once.Do(func() { close(g.failed) })
	})
}

// wait returns when all parts have ended, with the failures of them all.
func (g *group) wait() error {
	g.parts.Wait()
	return errors.Join(g.errs...)
}
