package redisbus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

// publish publishes without an event id, whose key would be another one that a
// migration moves. Who publishes so must not try again, but here duplicates of
// one text do no harm.
func (r *running) publish(t *testing.T, channel, payload string) {
	t.Helper()
	var err error
	eventually(t, "a publish works", func() bool {
		err = r.call.queue(t.Context(), r.client, fnPublish, r.keys.stream(channel), payload).Err()
		if isRefusal(err) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func TestClusterHearsAllMasters(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	b := startClusterBus(t, c)
	if !b.sharded.Load() {
		t.Fatal("a cluster of Redis 7 is not announced in shards")
	}
	var names []string
	for _, n := range c.nodes {
		names = append(names, c.channelAt(n))
	}
	for _, name := range names {
		b.Subscribe(name, false)
		b.wait("confirmed " + name)
	}
	b.Subscribe("status:a", true)
	b.wait("confirmed status:a")
	for _, name := range append(names, "status:a") {
		b.publish(t, name, "x")
		b.wait("announced " + name + " x")
	}
	// Between the nodes, Redis passes it on once or, where their link is not up, never.
	heard := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for {
			c.nodes[1].do("publish", "status:a", "plain")
			select {
			case <-heard:
				return
			case <-time.After(time.Second):
			}
		}
	})
	b.wait("announced status:a plain")
	close(heard)
	publishing.Wait()
	// Plain payloads with history are recorded and announced in the shard.
	c.nodes[2].do("publish", names[0], "recorded")
	b.wait("announced " + names[0] + " recorded")
	for part, err := range b.State() {
		if err != nil {
			t.Errorf("%s: %v", part, err)
		}
	}
	if up, wanted := b.countLinks(); up != 5 || wanted != 5 {
		t.Errorf("%d of %d links are up", up, wanted)
	}
	for i, n := range c.nodes {
		if got := n.do("pubsub", "shardnumsub", "gw:"+names[i]).([]any)[1]; got != int64(1) {
			t.Errorf("%v subscribers of %s at its master", got, names[i])
		}
	}
	b.Unsubscribe("status:a", true)
	b.Unsubscribe(names[0], false)
	eventually(t, "nobody is subscribed any more", func() bool {
		return c.nodes[0].do("pubsub", "shardnumsub", "gw:"+names[0]).([]any)[1] == int64(0) &&
			c.owner(slotOf("gw:status:a")).do("pubsub", "shardnumsub", "gw:status:a").([]any)[1] == int64(0)
	})
}

// tailing is a receiver as the hub is one: it reads a channel's stream whenever
// the subscription is confirmed, and keeps what it has seen.
type tailing struct {
	*running
	t       *testing.T
	channel string
	stop    chan struct{}
	ended   sync.WaitGroup

	mu   sync.Mutex
	seen map[string]bool
	open bool // confirmed, and not deaf
}

func startTailing(t *testing.T, b *running, channel string) *tailing {
	f := &tailing{running: b, t: t, channel: channel, stop: make(chan struct{}), seen: make(map[string]bool)}
	f.ended.Go(f.run)
	t.Cleanup(func() { close(f.stop); f.ended.Wait() })
	b.Subscribe(channel, false)
	eventually(t, "the channel is heard", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.open
	})
	return f
}

func (f *tailing) run() {
	var after channels.Position
	for {
		var note string
		select {
		case note = <-f.notes:
		case <-f.stop:
			return
		}
		kind, rest, _ := strings.Cut(note, " ")
		name, payload, _ := strings.Cut(rest, " ")
		if name != f.channel {
			continue
		}
		f.mu.Lock()
		switch kind {
		case "announced":
			if !f.open {
				f.t.Errorf("%q is delivered between deaf and confirmed", payload)
			}
			f.seen[payload] = true
		case "deaf":
			f.open = false
		case "confirmed":
			f.open = true
			f.mu.Unlock()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			events, _ := f.Read(ctx, f.channel, after, 10_000)
			cancel()
			f.mu.Lock()
			for _, e := range events {
				f.seen[e.Payload] = true
				after = e.Position
			}
		}
		f.mu.Unlock()
	}
}

// wantAll waits until all numbers below n were seen, and returns for how long.
func (f *tailing) wantAll(n int) time.Duration {
	f.t.Helper()
	begin := time.Now()
	eventually(f.t, fmt.Sprintf("%d events of %s are seen", n, f.channel), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.seen) == n
	})
	return time.Since(begin)
}

func TestClusterSlotMovesUnderTraffic(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	b := startClusterBus(t, c)
	from, to := c.nodes[0], c.nodes[1]
	channel := c.channelAt(from)
	slot := slotOf("gw:" + channel)
	f := startTailing(t, b, channel)
	published := 0
	publish := func() {
		for range 20 {
			b.publish(t, channel, fmt.Sprint(published))
			published++
		}
	}
	for round := range 2 {
		publish()
		f.wantAll(published)
		c.beginMove(slot, from, to)
		publish()
		f.wantAll(published)
		c.moveKeys(slot, from, to)
		// From here on nobody is told of what is published.
		publish()
		t.Logf("round %d: seen %v after it was published while the slot was moving", round, f.wantAll(published))
		c.endMove(slot, from, to)
		publish()
		t.Logf("round %d: seen %v after the slot was assigned", round, f.wantAll(published))
		from, to = to, from
	}
}

func TestClusterMasterDies(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	dead := c.nodes[0]
	c.replicate(dead)
	var mu sync.Mutex
	lost := make(map[LinkLoss]int)
	b := startClusterBus(t, c, func(o *Options) {
		o.Hooks.Lost = func(reason LinkLoss) {
			mu.Lock()
			defer mu.Unlock()
			lost[reason]++
		}
	})
	channel, other := c.channelAt(dead), c.channelAt(c.nodes[1])
	b.Subscribe(other, false)
	b.wait("confirmed " + other)
	f := startTailing(t, b, channel)
	b.publish(t, channel, "0")
	f.wantAll(1)
	dead.kill()
	died := time.Now()
	b.wantState(t, false)
	said := false
	for part, err := range b.State() {
		said = said || err != nil && strings.Contains(part+err.Error(), dead.addr)
	}
	if !said {
		t.Errorf("the state does not name the dead master: %v", b.State())
	}
	c.nodes = c.nodes[1:]
	promoted := c.nodes[len(c.nodes)-1]
	eventually(t, "the replica is promoted", func() bool { return promoted.do("role").([]any)[0] == "master" })
	t.Logf("promoted %v after the death", time.Since(died))
	at := time.Now()
	b.publish(t, channel, "1")
	t.Logf("publishing works %v after the promotion", time.Since(at))
	f.wantAll(2)
	t.Logf("heard %v after the promotion", time.Since(at))
	b.wantState(t, true)
	t.Logf("all well %v after the promotion", time.Since(at))
	if recovery := time.Since(at); recovery > 10*time.Second {
		t.Errorf("it took %v to recover", recovery)
	}
	b.publish(t, channel, "2")
	f.wantAll(3)
}

// A hung master keeps its sockets open: nothing is refused, nothing ends.
func TestClusterMasterHangs(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	hung := c.nodes[0]
	c.replicate(hung)
	b := startClusterBus(t, c)
	channel, other := c.channelAt(hung), c.channelAt(c.nodes[1])
	b.Subscribe(other, false)
	b.wait("confirmed " + other)
	f := startTailing(t, b, channel)
	b.publish(t, channel, "0")
	f.wantAll(1)
	hung.freeze()
	defer hung.thaw()
	c.nodes = c.nodes[1:]
	promoted := c.nodes[len(c.nodes)-1]
	eventually(t, "the replica is promoted", func() bool { return promoted.do("role").([]any)[0] == "master" })
	at := time.Now()
	b.publish(t, channel, "1")
	t.Logf("publishing works %v after the promotion", time.Since(at))
	f.wantAll(2)
	t.Logf("heard %v after the promotion", time.Since(at))
	b.publish(t, other, "still there")
	// It comes back, and what it believes to own is not believed.
	hung.thaw()
	b.publish(t, channel, "2")
	f.wantAll(3)
}

func TestClusterGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	b := startClusterBus(t, c)
	old := c.nodes[0]
	channel := c.channelAt(old)
	slot := slotOf("gw:" + channel)
	f := startTailing(t, b, channel)
	b.publish(t, channel, "0")
	f.wantAll(1)
	added := c.add()
	c.beginMove(slot, old, added)
	c.moveKeys(slot, old, added)
	b.publish(t, channel, "1")
	c.endMove(slot, old, added)
	f.wantAll(2)
	eventually(t, "the new master is listened to", func() bool {
		return added.do("pubsub", "shardnumsub", "gw:"+channel).([]any)[1] == int64(1)
	})
	if n := len(added.do("function", "list").([]any)); n != 1 {
		t.Errorf("the new master has %d libraries", n)
	}
	b.publish(t, channel, "2")
	f.wantAll(3)
	if _, wanted := b.countLinks(); wanted != 6 {
		t.Errorf("%d links", wanted)
	}
	// And back, without a migration: what the server says unasked is enough.
	for _, n := range c.nodes {
		n.do("config", "set", "cluster-allow-pubsubshard-when-down", "yes")
	}
	c.beginMove(slot, added, old)
	c.moveKeys(slot, added, old)
	c.endMove(slot, added, old)
	eventually(t, "the master without slots is left", func() bool {
		_, wanted := b.countLinks()
		return wanted == 5
	})
	b.publish(t, channel, "3")
	f.wantAll(4)
}

// Where the masters do not all know sharded Pub/Sub, one link hears everything.
func TestClusterWithoutShards(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "--rename-command", "SPUBLISH", "", "--rename-command", "FCALL", "", "--rename-command", "FUNCTION", "")
	b := startClusterBus(t, c)
	if b.sharded.Load() || b.loader.functions() {
		t.Error("commands that do not exist are used")
	}
	channel := c.channelAt(c.nodes[1])
	b.Subscribe(channel, false)
	b.wait("confirmed " + channel)
	b.publish(t, channel, "x")
	b.wait("announced " + channel + " x")
	if _, wanted := b.countLinks(); wanted != 2 {
		t.Errorf("%d links", wanted)
	}
}

func TestBusWaitsForItsCluster(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	states := make(chan bool, 100)
	ears := newEars(t)
	b, err := Open(Options{URL: fmt.Sprintf("redis+cluster://127.0.0.1:%d", port), Policies: testPolicies(t),
		Logger: slog.New(slog.DiscardHandler), Hooks: Hooks{State: func(up bool) { states <- up }}})
	if err != nil {
		t.Fatal(err)
	}
	b.Subscribe("orders", false)
	b.Subscribe("small:x", false)
	b.Unsubscribe("small:x", false)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Run(ctx, ears)
	}()
	defer func() { cancel(); <-ended }()
	if <-states {
		t.Error("up without a cluster")
	}
	if b.Ready() || b.State()["redis"] == nil {
		t.Errorf("ready without a cluster: %v", b.State())
	}
	s := runServer(t, port, "--port", fmt.Sprint(port), "--save", "", "--dir", t.TempDir(), "--cluster-enabled", "yes")
	s.do("cluster", "addslotsrange", 0, slotCount-1)
	ears.wait("confirmed orders")
	if got := s.do("pubsub", "shardchannels", "gw:*").([]any); len(got) != 1 {
		t.Errorf("subscribed to %v", got)
	}
}

// A replica that starts while a master is away serves the channels of the
// others, and says what is missing.
func TestBusStartsWithoutOneMaster(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	channel := c.channelAt(c.nodes[1])
	url, away := c.url(), c.nodes[0]
	away.kill()
	ears := newEars(t)
	b, err := Open(Options{URL: url, Policies: testPolicies(t), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Run(ctx, ears)
	}()
	defer func() { cancel(); <-ended }()
	b.Subscribe(channel, false)
	ears.wait("confirmed " + channel)
	eventually(t, "it is ready for streams", b.Ready)
	if _, err := b.Publisher().Publish(t.Context(), Message{Channel: channel, Payload: "x"}); err != nil {
		t.Error(err)
	}
	ears.wait("announced " + channel + " x")
	if b.State()["redis master "+away.addr] == nil {
		t.Errorf("state is %v", b.State())
	}
}
