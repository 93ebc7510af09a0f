package redisbus

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// muffler passes connections on to a server, until it is told to let nothing
// through the present ones.
type muffler struct {
	addr   string
	mu     sync.Mutex
	muffle chan struct{} // closed: nothing gets through
	conns  []net.Conn
}

func startMuffler(t *testing.T, to string) *muffler {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &muffler{addr: l.Addr().String(), muffle: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			m.mu.Lock()
			m.conns = append(m.conns, client, server)
			muffle := m.muffle
			m.mu.Unlock()
			running.Go(func() { pass(server, client, muffle) })
			running.Go(func() { pass(client, server, muffle) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		m.mu.Lock()
		for _, c := range m.conns {
			c.Close()
		}
		m.mu.Unlock()
		running.Wait()
	})
	return m
}

func pass(to io.WriteCloser, from io.ReadCloser, muffle chan struct{}) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-muffle:
		default:
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

// deafen leaves the present connections open and lets nothing through them.
func (m *muffler) deafen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.muffle)
	m.muffle = make(chan struct{})
}

func TestLinkNoticesDeafness(t *testing.T) {
	for _, sharded := range []bool{false, true} {
		kind := map[bool]string{false: "ordinary", true: "sharded"}[sharded]
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const deafAfter = 900 * time.Millisecond
			args := []string{}
			if sharded {
				args = []string{"--cluster-enabled", "yes"}
			}
			s := startServer(t, args...)
			if sharded {
				s.do("cluster", "addslotsrange", 0, slotCount-1)
				eventually(t, "the cluster is up", func() bool { return s.db.Get(t.Context(), "x").Err() == redis.Nil })
			}
			m := startMuffler(t, s.addr)
			to := newEars(t)
			lost, probed := make(chan LinkLoss, 100), make(chan time.Duration, 1000)
			l := newLink(linkOptions{
				of: "redis", sharded: sharded, deafAfter: deafAfter, own: keys{"gw"}.own, changed: func(error) {}, log: slog.New(slog.DiscardHandler),
				node:  func(context.Context) (*redis.Options, error) { return &redis.Options{Addr: m.addr}, nil },
				probe: func() (string, error) { return "gw.probe:test", nil },
				publish: func(ctx context.Context, name, text string) error {
					if sharded {
						return s.db.SPublish(ctx, name, text).Err()
					}
					return s.db.Publish(ctx, name, text).Err()
				},
				lost: func(why LinkLoss) { lost <- why }, probed: func(d time.Duration) { probed <- d },
			}, to)
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				l.run(ctx)
			}()
			t.Cleanup(func() { cancel(); <-ended })
			l.want(name("gw:a"))
			to.wait("confirmed gw:a false")
			if d := <-probed; d <= 0 || d > deafAfter {
				t.Errorf("a probe took %v", d)
			}
			if err := l.trouble(time.Now()); err != nil {
				t.Errorf("all is well, but %v", err)
			}
			m.deafen()
			begin := time.Now()
			to.wait("deaf gw:a false")
			if took := time.Since(begin); took < deafAfter/2 || took > 2*deafAfter {
				t.Errorf("deafness was noticed after %v", took)
			} else {
				t.Logf("deafness was noticed after %v of %v", took, deafAfter)
			}
			if why := <-lost; why != LinkDeaf {
				t.Errorf("lost because of %s", why)
			}
			to.wait("confirmed gw:a false")
		})
	}
}

// A connection that took the place of a deaf one is not believed before something
// has come by it: what made the one deaf may go on.
func TestLinkIsDoubtedAfterDeafness(t *testing.T) {
	mini, client := miniRedis(t)
	to := newEars(t)
	var mute atomic.Bool
	changed := make(chan error, 1000)
	l := newLink(linkOptions{
		of: "redis", deafAfter: 600 * time.Millisecond, own: keys{"gw"}.own, changed: func(err error) { changed <- err }, log: slog.New(slog.DiscardHandler),
		node:  func(context.Context) (*redis.Options, error) { return &redis.Options{Addr: mini.Addr()}, nil },
		probe: func() (string, error) { return "gw.probe:test", nil },
		publish: func(ctx context.Context, name, text string) error {
			if mute.Load() {
				return errors.New("NOPERM")
			}
			return client.Publish(ctx, name, text).Err()
		},
	}, to)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	l.want(name("gw:a"))
	to.wait("confirmed gw:a false")
	mute.Store(true)
	for range 2 {
		to.wait("deaf gw:a false")
		to.wait("confirmed gw:a false")
		if err := l.trouble(time.Now()); err == nil {
			t.Error("a connection by which nothing has come yet is believed")
		}
	}
	for len(changed) > 0 {
		<-changed
	}
	mute.Store(false)
	for <-changed != nil { // that it got better is told
	}
	eventually(t, "it is believed", func() bool { return l.trouble(time.Now()) == nil })
}

// Only what is true of the connection that was lost is said of it.
func TestLinkSaysWhatIsWrong(t *testing.T) {
	l := newLink(linkOptions{of: "master", deafAfter: 3 * time.Second}, nil)
	l.addr, l.cause = "10.0.0.3:6379", io.EOF
	if got := l.trouble(time.Now()).Error(); got != "no connection for events to master at 10.0.0.3:6379: EOF" {
		t.Error(got)
	}
	l.up.Store(true)
	now := time.Now()
	l.heard.Store(now.UnixNano())
	if err := l.trouble(now.Add(2 * time.Second)); err != nil {
		t.Error(err)
	}
	if got := l.trouble(now.Add(2500 * time.Millisecond)).Error(); got != "no events heard from master 10.0.0.3:6379 since 2.5s, not even probes" {
		t.Error(got)
	}
}
