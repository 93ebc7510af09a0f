package redisbus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// Reach tells by fresh connections whether Redis can be reached at all: the
// server, the master that the Sentinels name, or every master of a Cluster that
// owns slots. Unlike State it asks nothing of this replica's own connections, so
// both together tell a Redis that is away from a replica that does not hear it.
//
// The error says why Redis is away: nobody can be connected to, connections are
// closed, the answer is that it does not serve at the moment or lets nobody in
// by this password, or slots have no master. A server that takes the connection and then says nothing is there, as
// far as can be told from here: its silence may be this replica's network. But
// where Sentinels or other masters answer, that network works, and whoever is
// silent is away. It takes up to about two seconds. Safe for concurrent use.
func (b *Bus) Reach(ctx context.Context) error {
	switch {
	case b.sentinels != nil:
		addr, err := b.sentinels.addr(ctx)
		if err != nil {
			return err
		}
		return reach(ctx, b.sentinels.options(addr), b.keys)
	case b.watch != nil:
		t := b.watch.latest.Load()
		if t == nil {
			return b.watch.trouble()
		}
		return b.reachMasters(ctx, t)
	}
	single := *b.target.single
	if err := reach(ctx, &single, b.keys); !errors.Is(err, errSilent) {
		return err
	}
	return nil
}

var errSilent = errors.New("it takes connections and says nothing")

func (b *Bus) reachMasters(ctx context.Context, t *topology) error {
	if err := t.incomplete(); err != nil {
		return err
	}
	var asked sync.WaitGroup
	var mu sync.Mutex
	var away, silent error
	answered := false
	for _, m := range t.masters {
		if m.slots == 0 {
			continue
		}
		asked.Go(func() {
			err := reach(ctx, b.target.clusterNode(m.addr), b.keys)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				answered = true
			case errors.Is(err, errSilent):
				silent = err
			default:
				away = err
			}
		})
	}
	asked.Wait()
	if away == nil && answered {
		return silent
	}
	return away
}

// reach asks one server over a connection of its own. The error is errSilent where
// that was made, and no more.
func reach(ctx context.Context, o *redis.Options, k keys) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	o = singleUse(o, askTimeout)
	var connected atomic.Bool
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		connected.Store(true)
		if o.TLSConfig == nil {
			return conn, nil
		}
		return shakeHands(ctx, conn, o.TLSConfig, addr)
	}
	client := redis.NewClient(o)
	defer client.Close()
	// The loader reads it as well, so it is permitted; PING need not be. TIME is
	// answered by a server that still loads its data.
	err := client.HGet(ctx, k.script(), "info").Err()
	var network net.Error
	switch {
	case err == nil:
		return nil
	case !connected.Load():
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		err = errSilent
	case !isAway(err) && !redis.IsAuthError(err):
		return nil // it answers, if not what one would like
	}
	return fmt.Errorf("%s: %w", o.Addr, err)
}

// shakeHands is a step by itself here: a server that takes a connection and does
// not answer the handshake is silent, not away.
func shakeHands(ctx context.Context, conn net.Conn, config *tls.Config, addr string) (net.Conn, error) {
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(addr) // it has just been connected to
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}
