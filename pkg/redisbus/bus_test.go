package redisbus

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"realtime-gateway/pkg/channels"
)

// Receiver's methods, for a Bus under test.

func (e *ears) Confirmed(channel string) { e.notes <- "confirmed " + channel }
func (e *ears) Announced(channel string, v channels.Event) {
	e.notes <- "announced " + channel + " " + v.Payload
}
func (e *ears) Unclear(channel string) { e.notes <- "unclear " + channel }
func (e *ears) Deaf(list []string) {
	for _, channel := range list {
		e.notes <- "deaf " + channel
	}
}

// running is a Bus that runs until the test ends, or stop.
type running struct {
	*Bus
	*ears
	states   chan bool
	recorded chan bool // first or not, for each plain payload it recorded
	rejected chan string
	stop     func()
}

func startBus(t *testing.T, mini *miniredis.Miniredis, change ...func(*Options)) *running {
	t.Helper()
	return startBusAt(t, "redis://"+mini.Addr(), change...)
}

func startBusAt(t *testing.T, url string, change ...func(*Options)) *running {
	t.Helper()
	r := beginBusAt(t, url, change...)
	r.wantState(t, true)
	return r
}

// beginBusAt does not wait for Redis.
func beginBusAt(t *testing.T, url string, change ...func(*Options)) *running {
	t.Helper()
	r := &running{ears: newEars(t), states: make(chan bool, 1000), recorded: make(chan bool, 100_000), rejected: make(chan string, 1000)}
	o := Options{URL: url, Policies: testPolicies(t), MaxPayload: 1000, Logger: slog.New(slog.DiscardHandler), Hooks: Hooks{
		State:    func(up bool) { r.states <- up },
		Recorded: func(first bool) { r.recorded <- first },
		Rejected: func(reason string) { r.rejected <- reason },
	}}
	for _, c := range change {
		c(&o)
	}
	var err error
	if r.Bus, err = Open(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx, r.ears)
	}()
	r.stop = func() { cancel(); <-ended }
	t.Cleanup(r.stop)
	return r
}

func (r *running) wantState(t *testing.T, up bool) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case got := <-r.states:
			if got == up {
				return
			}
		case <-timeout:
			t.Fatalf("waited in vain for the state %v", up)
		}
	}
}

// eventually waits for what has no event of its own.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(30 * time.Second)
	for !is() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestBusHears(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t)
	b := startBus(t, mini)
	b.Subscribe("orders", false)
	b.Subscribe("status:a", true)
	b.wait("confirmed orders", "confirmed status:a")
	p := b.Publisher()
	at, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), Message{Channel: "status:a", Payload: "y"}); err != nil {
		t.Fatal(err)
	}
	b.wait("announced orders x", "announced status:a y")
	client.Publish(t.Context(), "status:a", "plain")
	b.wait("announced status:a plain")
	client.Publish(t.Context(), "status:a", "\xff")
	if got := <-b.rejected; got != "payload" {
		t.Errorf("rejected because of %q", got)
	}
	client.Publish(t.Context(), "gw:orders", "nothing of ours")
	b.wait("unclear orders")

	opened := b.Bus.Open(t.Context(), []string{"orders", "status:a", "unknown"})
	if opened[0] != (channels.Top{Position: at}) || opened[1] != (channels.Top{}) || opened[2].Err == nil {
		t.Errorf("opened at %v, want %v, without history nothing, and an error of an unknown channel", opened, at)
	}
	renewed := b.Renew(t.Context(), []string{"orders", "small:never"})
	if !slices.Equal(renewed, []channels.Top{{Position: at}, {}}) || mini.Exists("gw:small:never") {
		t.Errorf("renewed at %v, and a stream was made %v", renewed, mini.Exists("gw:small:never"))
	}
	if tops := b.Tops(t.Context(), []string{"orders", "status:a"}); !slices.Equal(tops, []channels.Top{{Position: at}, {}}) {
		t.Errorf("last positions are %v", tops)
	}
	b.Unsubscribe("status:a", true)
	b.Subscribe("small:x", false)
	b.wait("confirmed small:x")
	if got := mini.PubSubNumSub("status:a", "gw:status:a", "gw:orders"); got["status:a"] != 0 || got["gw:status:a"] != 0 || got["gw:orders"] != 1 {
		t.Errorf("subscribers are %v", got)
	}
}

func TestBusReadsHistory(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t)
	b := startBus(t, mini)
	p := b.Publisher()
	var at []channels.Position
	for i := range 10 {
		position, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, position)
	}
	texts := func(list []channels.Event, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		s := ""
		for _, e := range list {
			s += e.Payload
		}
		return s
	}
	for _, tt := range []struct{ got, want string }{
		{texts(b.Read(t.Context(), "orders", channels.Position{}, 100)), "0123456789"},
		{texts(b.Read(t.Context(), "orders", at[2], 100)), "3456789"},
		{texts(b.Read(t.Context(), "orders", at[2], 3)), "345"},
		{texts(b.Read(t.Context(), "orders", at[9], 3)), ""},
		{texts(b.Read(t.Context(), "small:none", channels.Position{}, 3)), ""},
		{texts(b.Newest(t.Context(), "orders", 3)), "789"},
		{texts(b.Newest(t.Context(), "orders", 100)), "0123456789"},
		{texts(b.Newest(t.Context(), "small:none", 3)), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("read %q, want %q", tt.got, tt.want)
		}
	}
	client.Set(t.Context(), "gw:small:wrong", "no stream", 0)
	if _, err := b.Read(t.Context(), "small:wrong", channels.Position{}, 1); err == nil {
		t.Error("what is no stream is read")
	}
}

func TestBusComesBack(t *testing.T) {
	t.Parallel()
	mini, _ := miniRedis(t)
	b := startBus(t, mini)
	b.Subscribe("orders", false)
	b.wait("confirmed orders")
	mini.Close()
	b.wait("deaf orders")
	b.wantState(t, false)
	if b.Ready() {
		t.Error("ready without a Redis")
	}
	// As a master that never had the code: nothing is left.
	mini.FlushAll()
	if err := mini.Restart(); err != nil {
		t.Fatal(err)
	}
	b.wait("confirmed orders")
	b.wantState(t, true)
	if _, err := b.Publisher().Publish(t.Context(), Message{Channel: "orders", Payload: "x"}); err != nil {
		t.Fatal(err)
	}
	b.wait("announced orders x")
}

// The code is loaded anew as soon as a call misses it.
func TestBusReloadsScripts(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t)
	b := startBus(t, mini)
	client.ScriptFlush(t.Context())
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := b.Bus.Open(t.Context(), []string{"orders"})[0].Err
		if err == nil {
			break
		}
		if !isUnloaded(err) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if client.HGet(t.Context(), "gw.script", "sha").Val() != b.library().scripts[fnPublish].sha {
		t.Error("the script for publishers is not there")
	}
	if len(b.Scripts()) != len(entryPoints) {
		t.Errorf("scripts are %d", len(b.Scripts()))
	}
}
