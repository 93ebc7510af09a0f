package redisbus

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// startShardLink runs a link to one node, whatever belongs there.
func startShardLink(t *testing.T, c *testCluster, n *redisServer) (*link, *ears, chan struct{}) {
	t.Helper()
	to, misrouted := newEars(t), make(chan struct{}, 1000)
	probe := "gw.probe:{" + c.channelAt(n) + "}"
	for i := 0; c.owner(slotOf(probe)) != n; i++ {
		probe = fmt.Sprint("gw.probe:", i)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{n.addr}, Protocol: 2, MaintNotificationsConfig: noNotifications()})
	l := newLink(linkOptions{
		of: "master", sharded: true, deafAfter: DefaultDeafAfter, own: keys{"gw"}.own, changed: func(error) {}, log: slog.New(slog.DiscardHandler),
		node:      func(context.Context) (*redis.Options, error) { return &redis.Options{Addr: n.addr}, nil },
		probe:     func() (string, error) { return probe, nil },
		publish:   func(ctx context.Context, name, text string) error { return client.SPublish(ctx, name, text).Err() },
		misrouted: func() { notify(misrouted) },
	}, to)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended; client.Close() })
	return l, to, misrouted
}

func TestShardLinkIsSentElsewhere(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	here, there := c.nodes[0], c.nodes[1]
	l, to, misrouted := startShardLink(t, c, here)
	ours, others := "gw:"+c.channelAt(here), "gw:"+c.channelAt(there)
	// What belongs elsewhere fails alone, and the connection goes on.
	l.want(name(others), name(ours))
	for _, n := range to.wait("confirmed " + ours + " false") {
		t.Errorf("meanwhile: %s", n)
	}
	<-misrouted
	here.do("spublish", ours, "x")
	to.wait("message  " + ours + " x")

	// When the slot comes here after all, the link has it by itself.
	slot := slotOf(others)
	move := func(from, to *redisServer) {
		for _, n := range c.nodes {
			if n != from && n != to {
				n.do("cluster", "setslot", slot, "node", to.id)
			}
		}
		c.beginMove(slot, from, to)
		c.endMove(slot, from, to)
	}
	move(there, here)
	to.wait("confirmed " + others + " false")
	if !l.up.Load() {
		t.Error("the connection broke")
	}

	// And when it goes away again, the server says so unasked.
	for len(misrouted) > 0 {
		<-misrouted
	}
	move(here, there)
	for _, n := range to.wait("deaf " + others + " false") {
		t.Errorf("meanwhile: %s", n)
	}
	<-misrouted
	l.unwant(name(others))
	here.do("spublish", ours, "y")
	for _, n := range to.wait("message  " + ours + " y") {
		t.Errorf("meanwhile: %s", n)
	}
}

// What 100,000 channels cost after a lost connection.
func BenchmarkResubscribe(b *testing.B) {
	const count = 100_000
	s := startServer(b)
	seen := make(chan struct{}, 4*count)
	l := newLink(linkOptions{
		of: "redis", deafAfter: DefaultDeafAfter, own: keys{"gw"}.own, changed: func(error) {}, log: slog.New(slog.DiscardHandler),
		node:    func(context.Context) (*redis.Options, error) { return &redis.Options{Addr: s.addr}, nil },
		probe:   func() (string, error) { return "gw.probe:test", nil },
		publish: func(ctx context.Context, name, text string) error { return s.db.Publish(ctx, name, text).Err() },
	}, counting(seen))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.run(ctx)
	}()
	defer func() { cancel(); <-ended }()
	names := make([]topicName, count)
	for i := range names {
		names[i] = name(fmt.Sprintf("gw:project:%d:tasks", i))
	}
	l.want(names...)
	wait := func() {
		for range count {
			<-seen
		}
	}
	wait()
	b.ResetTimer()
	for range b.N {
		begin := time.Now()
		l.end(errMoved)
		wait()
		b.ReportMetric(time.Since(begin).Seconds(), "s/100k")
	}
}

// counting is a listener that counts confirmations.
type counting chan struct{}

func (c counting) confirmed(topicName)            { c <- struct{}{} }
func (c counting) message(string, string, string) {}
func (c counting) deaf([]topicName)               {}
