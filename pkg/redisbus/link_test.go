package redisbus

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// ears is a listener that keeps what it is told, in order.
type ears struct {
	t     *testing.T
	notes chan string
}

func newEars(t *testing.T) *ears { return &ears{t, make(chan string, 100_000)} }

func (e *ears) confirmed(n topicName) { e.notes <- fmt.Sprintf("confirmed %s %v", n.text, n.pattern) }
func (e *ears) message(pattern, name, p string) {
	e.notes <- fmt.Sprintf("message %s %s %s", pattern, name, p)
}
func (e *ears) deaf(names []topicName) {
	for _, n := range names {
		e.notes <- fmt.Sprintf("deaf %s %v", n.text, n.pattern)
	}
}

// wait skips notes until all the wanted ones came, and returns what it skipped.
func (e *ears) wait(wanted ...string) (skipped []string) {
	e.t.Helper()
	left := make(map[string]bool)
	for _, w := range wanted {
		left[w] = true
	}
	timeout := time.After(30 * time.Second)
	for len(left) > 0 {
		select {
		case n := <-e.notes:
			if left[n] {
				delete(left, n)
			} else {
				skipped = append(skipped, n)
			}
		case <-timeout:
			e.t.Fatalf("waited in vain for %v", left)
		}
	}
	return skipped
}

func startLink(t *testing.T, mini *miniredis.Miniredis, client *redis.Client) (*link, *ears) {
	t.Helper()
	to := newEars(t)
	target, err := parseURL("redis://" + mini.Addr())
	if err != nil {
		t.Fatal(err)
	}
	l := newLink(linkOptions{
		of: "redis", deafAfter: DefaultDeafAfter, own: keys{"gw"}.own, changed: func(error) {}, log: slog.New(slog.DiscardHandler),
		node: func(context.Context) (*redis.Options, error) {
			o := *target.single
			return &o, nil
		},
		probe:   func() (string, error) { return "gw.probe:test", nil },
		publish: func(ctx context.Context, name, text string) error { return client.Publish(ctx, name, text).Err() },
	}, to)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return l, to
}

func name(text string) topicName    { return topicName{text: text} }
func pattern(text string) topicName { return topicName{text: text, pattern: true} }

func TestLinkConfirms(t *testing.T) {
	mini, client := miniRedis(t)
	l, to := startLink(t, mini, client)
	l.want(name("a"))
	to.wait("confirmed a false")
	// Wanted again while it stands.
	l.want(name("a"))
	to.wait("confirmed a false")
	// Wanted again behind its end.
	l.unwant(name("a"))
	l.want(name("a"))
	to.wait("confirmed a false")
	// A name and a pattern of the same text are two.
	l.want(pattern("a"))
	to.wait("confirmed a true")
	l.unwant(name("a"))
	l.want(name("fence"))
	to.wait("confirmed fence false")
	client.Publish(t.Context(), "a", "x")
	to.wait("message a a x")
	// What was never wanted can be let go.
	l.unwant(name("never"), pattern("never"))
	l.want(name("more"))
	to.wait("confirmed more false")
}

// A batch is larger than one command.
func TestLinkSubscribesManyInOrder(t *testing.T) {
	mini, client := miniRedis(t)
	l, to := startLink(t, mini, client)
	var names []topicName
	var wanted []string
	for i := range 3 * subscribeBatch {
		names = append(names, name(fmt.Sprint(i)))
		wanted = append(wanted, fmt.Sprintf("confirmed %d false", i))
	}
	l.want(names...)
	to.wait(wanted...)
	if n := len(mini.PubSubChannels("")); n != len(names)+1 {
		t.Errorf("%d channels are subscribed, want %d and the probe's", n, len(names))
	}
}

func TestLinkFollowsWhatIsWanted(t *testing.T) {
	mini, client := miniRedis(t)
	l, to := startLink(t, mini, client)
	const names = 20
	of := func(i int) topicName {
		if i%4 == 0 {
			return pattern(fmt.Sprintf("p%d*", i))
		}
		return name(fmt.Sprintf("n%d", i))
	}
	for round := range 5 {
		var group sync.WaitGroup
		for g := range 32 {
			group.Go(func() {
				random := rand.New(rand.NewPCG(uint64(round), uint64(g)))
				for range 100 {
					n := of(random.IntN(names))
					if random.IntN(2) == 0 {
						l.want(n)
					} else {
						l.unwant(n)
					}
				}
			})
		}
		group.Wait()
		wanted := make(map[int]bool)
		for i := range names {
			if rand.IntN(2) == 0 {
				wanted[i] = true
				l.want(of(i))
			} else {
				l.unwant(of(i))
			}
		}
		fence := fmt.Sprintf("fence%d*", round)
		l.want(pattern(fence))
		to.wait("confirmed " + fence + " true")
		patterns := 0
		for i := range names {
			want := 0
			if wanted[i] {
				want = 1
			}
			if of(i).pattern {
				patterns += want
			} else {
				eventually(t, fmt.Sprintf("%s has %d subscribers", of(i).text, want), func() bool {
					return mini.PubSubNumSub(of(i).text)[of(i).text] == want
				})
			}
		}
		eventually(t, fmt.Sprintf("%d patterns and the fences are subscribed", patterns), func() bool {
			return mini.PubSubNumPat() == patterns+round+1
		})
		var heard []string
		for i := range names {
			text, from := of(i).text, ""
			if of(i).pattern {
				text, from = fmt.Sprintf("p%dx", i), of(i).text
			}
			client.Publish(t.Context(), text, fmt.Sprint(round))
			if wanted[i] {
				heard = append(heard, fmt.Sprintf("message %s %s %d", from, text, round))
			}
		}
		client.Publish(t.Context(), fence, "end")
		for _, extra := range to.wait(append(heard, "message "+fence+" "+fence+" end")...) {
			if extra[:7] == "message" {
				t.Errorf("heard what is not wanted: %s", extra)
			}
		}
	}
}

func TestLinkComesBack(t *testing.T) {
	mini, client := miniRedis(t)
	l, to := startLink(t, mini, client)
	l.want(name("a"), name("gw:a"), pattern("p*"))
	to.wait("confirmed a false", "confirmed gw:a false", "confirmed p* true")
	for i := range 3 {
		mini.Close()
		for _, n := range to.wait("deaf a false", "deaf gw:a false", "deaf p* true") {
			if n[:4] != "deaf" {
				t.Errorf("on the way to deaf: %s", n)
			}
		}
		l.want(name(fmt.Sprint("meanwhile", i)))
		if err := mini.Restart(); err != nil {
			t.Fatal(err)
		}
		back := to.wait("confirmed a false", "confirmed gw:a false", "confirmed p* true", fmt.Sprintf("confirmed meanwhile%d false", i))
		for _, n := range back {
			if n[:7] == "message" {
				t.Errorf("heard before it was confirmed: %s", n)
			}
		}
		client.Publish(t.Context(), "gw:a", fmt.Sprint(i))
		to.wait(fmt.Sprintf("message  gw:a %d", i))
	}
}

// A channel's bare name stands before its stream is confirmed, also when all
// is subscribed anew: Bus.Subscribe relies on it.
func TestLinkSubscribesBareNamesFirst(t *testing.T) {
	mini, client := miniRedis(t)
	l, to := startLink(t, mini, client)
	for i := range 50 {
		l.want(name(fmt.Sprint(i)), name(fmt.Sprintf("gw:%d", i)))
	}
	for range 2 {
		confirmed := make(map[string]bool)
		for range 100 {
			var n string
			for {
				if n = <-to.notes; n[:4] != "deaf" {
					break
				}
			}
			confirmed[n] = true
			var i int
			if c, _ := fmt.Sscanf(n, "confirmed gw:%d", &i); c == 1 && !confirmed[fmt.Sprintf("confirmed %d false", i)] {
				t.Errorf("the stream of %d is confirmed before its bare name", i)
			}
		}
		mini.Close()
		if err := mini.Restart(); err != nil {
			t.Fatal(err)
		}
	}
}
