package redisbus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"realtime-gateway/internal/embedded"
	"realtime-gateway/pkg/channels"
)

// publishing is a Redis to publish to, in one of the two ways.
type publishing struct {
	*Publisher
	s *scripts
}

// scriptPublisher publishes where functions do not exist.
func scriptPublisher(t *testing.T) *publishing {
	t.Helper()
	s := newScripts(t)
	publish := s.library.scripts[fnPublish]
	s.mini.HSet("gw.script", "info", s.library.info(identity{stamp: 1}), "sha", publish.sha, "source", publish.source)
	return &publishing{openPublisher(t, s.mini.Addr()), s}
}

// functionPublisher publishes by FCALL.
func functionPublisher(t *testing.T) *publishing {
	t.Helper()
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	library := newLibrary("gw", 1000, testPolicies(t), announceEverywhere)
	sources := make(map[string]string)
	for name, script := range library.scripts {
		sources[name] = script.source
	}
	if err := server.Functions(sources); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2, DisableIdentity: true, MaintNotificationsConfig: noNotifications()})
	t.Cleanup(func() { client.Close() })
	return &publishing{openPublisher(t, server.Addr()), &scripts{t: t, client: client, library: library}}
}

func openPublisher(t *testing.T, addr string) *Publisher {
	t.Helper()
	p, err := NewPublisher(PublisherOptions{URL: "redis://" + addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func eachWay(t *testing.T, test func(t *testing.T, p *publishing)) {
	t.Run("scripts", func(t *testing.T) { test(t, scriptPublisher(t)) })
	t.Run("functions", func(t *testing.T) { test(t, functionPublisher(t)) })
}

func TestPublish(t *testing.T) {
	eachWay(t, func(t *testing.T, p *publishing) {
		one, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x", EventID: "1", Type: "made", TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		two, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "y"})
		if err != nil || !one.Less(two) {
			t.Fatalf("published at %v, then at %v: %v", one, two, err)
		}
		if again, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "z", EventID: "1"}); again != one || err != nil {
			t.Errorf("the same event id again is at %v, %v; want %v", again, err, one)
		}
		got := p.s.stream("orders")
		if len(got) != 2 || got[0].Payload != "x" || got[0].EventID != "1" || got[0].Type != "made" || got[0].TTL != time.Minute || got[0].Position != one {
			t.Errorf("the stream is %+v", got)
		}
		if len(got) == 2 && len(got[1].EventID) < 16 {
			t.Errorf("an event without an id was given %q", got[1].EventID)
		}
	})
}

func TestPublishManyWithSomeBad(t *testing.T) {
	eachWay(t, func(t *testing.T, p *publishing) {
		positions, err := p.PublishMany(t.Context(), []Message{
			{Channel: "orders", Payload: "1"},
			{Channel: "a::b", Payload: "x"},
			{Channel: "orders", Payload: "2"},
			{Channel: "unknown", Payload: "x"},
			{Channel: "orders", Payload: strings.Repeat("x", 1001)},
			{Channel: "orders", Payload: "3"},
		})
		if !errors.Is(err, ErrInvalid) || !errors.Is(err, ErrRefused) {
			t.Errorf("error is %v, want one that is both", err)
		}
		for _, part := range []string{`"a::b"`, `"unknown"`, "no channel policy matches", "1001 bytes"} {
			if !strings.Contains(fmt.Sprint(err), part) {
				t.Errorf("error %v does not say %s", err, part)
			}
		}
		for i, good := range []bool{true, false, true, false, false, true} {
			if positions[i].IsZero() == good {
				t.Errorf("position %d is %v", i, positions[i])
			}
		}
		var texts []string
		for _, e := range p.s.stream("orders") {
			texts = append(texts, e.Payload)
		}
		if fmt.Sprint(texts) != "[1 2 3]" {
			t.Errorf("the stream is %q, want the good ones in their order", texts)
		}
	})
}

func TestPublishManyOfNothing(t *testing.T) {
	if positions, err := openPublisher(t, "127.0.0.1:1").PublishMany(t.Context(), nil); len(positions) > 0 || err != nil {
		t.Errorf("got %v, %v", positions, err)
	}
}

// What is wrong is refused at once, without a Redis.
func TestInvalidMessages(t *testing.T) {
	p := openPublisher(t, "127.0.0.1:1")
	for _, m := range []Message{
		{}, {Channel: "a::b"}, {Channel: "a b"}, {Channel: "gw:orders"}, {Channel: "gw.orders"}, {Channel: strings.Repeat("a", 256)},
		{Channel: "a", Payload: "\xff"},
		{Channel: "a", EventID: "a\nb"}, {Channel: "a", EventID: strings.Repeat("a", 256)}, {Channel: "a", EventID: "\xff"},
		{Channel: "a", Type: "a\rb"}, {Channel: "a", Type: "gateway.close"}, {Channel: "a", Type: strings.Repeat("a", 256)},
		{Channel: "a", TTL: -1}, {Channel: "a", TTL: time.Microsecond}, {Channel: "a", TTL: time.Second + 1},
	} {
		if at, err := p.Publish(t.Context(), m); !errors.Is(err, ErrInvalid) || !at.IsZero() {
			t.Errorf("%.60q: got %v, %v", fmt.Sprintf("%+v", m), at, err)
		}
	}
}

func TestPublishIsTriedAgain(t *testing.T) {
	for _, text := range []string{
		"LOADING Redis is loading the dataset in memory", "OOM command not allowed when used memory > 'maxmemory'.", "BUSY Redis is busy running a script.",
		"NOSCRIPT No matching script. Please use EVAL.", "READONLY You can't write against a read only replica.",
	} {
		t.Run(text, func(t *testing.T) {
			p := scriptPublisher(t)
			interrupt(p.s, p.s.library.scripts[fnPublish].sha, 3, func(_ *scripts, c *server.Peer, _ []string) { c.WriteError(text) })
			if _, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"}); err != nil {
				t.Fatal(err)
			}
			if n := len(p.s.stream("orders")); n != 1 {
				t.Errorf("%d entries, want 1", n)
			}
		})
	}
}

// Calls that were executed, and whose answer was lost, are not executed twice.
func TestRetriesDoNotDuplicate(t *testing.T) {
	p := scriptPublisher(t)
	interrupt(p.s, p.s.library.scripts[fnPublish].sha, 6, executeAndDrop)
	var messages []Message
	for i := range 20 {
		messages = append(messages, Message{Channel: "orders", Payload: fmt.Sprint(i)})
	}
	positions, err := p.PublishMany(t.Context(), messages)
	if err != nil {
		t.Fatal(err)
	}
	got := p.s.stream("orders")
	if len(got) != len(messages) {
		t.Fatalf("%d entries, want %d", len(got), len(messages))
	}
	at := make(map[string]string)
	for _, e := range got {
		at[e.Position.String()] = e.Payload
	}
	for i, position := range positions {
		if at[position.String()] != fmt.Sprint(i) {
			t.Errorf("at %v, given for %d, stands %q", position, i, at[position.String()])
		}
	}
}

func TestPublishGivesUp(t *testing.T) {
	p := scriptPublisher(t)
	interrupt(p.s, p.s.library.scripts[fnPublish].sha, 1<<30, loadingError)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := p.Publish(ctx, Message{Channel: "orders", Payload: "x"}); err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), `"orders"`) {
		t.Errorf("error is %v, want one that names the channel and is no refusal", err)
	}
}

func TestPublishWithoutGateway(t *testing.T) {
	mini, _ := miniRedis(t)
	p := openPublisher(t, mini.Addr())
	p.timeout = 200 * time.Millisecond
	if _, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"}); err == nil || !strings.Contains(err.Error(), "is one running with this Redis and prefix?") {
		t.Errorf("error is %v, want one that says what is missing", err)
	}
}

// Who is not let in is told so at once, and not after as many attempts as fit.
func TestPublisherThatRedisDoesNotLetIn(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.asUser(t, "service", gatewayRights...)
	s.do("acl", "setuser", "default", "resetpass", ">other")
	for login, says := range map[string]string{"service:wrong@": "WRONGPASS", "nobody:secret@": "WRONGPASS", "": "NOAUTH"} {
		p := openPublisher(t, login+s.addr)
		_, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"})
		_, disconnectErr := p.Disconnect(t.Context(), Revocation{User: "alice"})
		p.scripting.Store(true)
		_, scriptErr := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"})
		for what, err := range map[string]error{`publish to "orders": `: err, `disconnect "alice": `: disconnectErr, "publish": scriptErr} {
			if !errors.Is(err, ErrDenied) || errors.Is(err, ErrRefused) || !strings.HasPrefix(err.Error(), what) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("as %q the error is %v, want one with %s", login, err, says)
			}
		}
	}
}

// A connection that Redis refuses is an error of each command of a pipeline.
func TestPipelineThatIsNotSent(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b, err := Open(Options{URL: "redis://nobody:secret@" + s.addr, Policies: testPolicies(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.client.Close()
	for _, tail := range b.Tails(t.Context(), []channels.TailRequest{{Channel: "orders", Limit: 1}, {Channel: "orders", Limit: 1}}) {
		if !redis.IsAuthError(tail.Err) {
			t.Errorf("the events are %v, the error %v", tail.Events, tail.Err)
		}
	}
}

// Scripts that Redis forgot are loaded again.
func TestScriptFlush(t *testing.T) {
	p := scriptPublisher(t)
	for i := range 3 {
		if _, err := p.Publish(t.Context(), Message{Channel: "orders", Payload: "x"}); err != nil {
			t.Fatal(err)
		}
		if n := len(p.s.stream("orders")); n != i+1 {
			t.Errorf("%d entries, want %d", n, i+1)
		}
		p.s.client.ScriptFlush(t.Context())
	}
}

// interrupt makes the next n calls of a script end badly.
func interrupt(s *scripts, sha string, n int32, badly func(s *scripts, c *server.Peer, args []string)) *atomic.Int32 {
	left := &atomic.Int32{}
	left.Store(n)
	s.mini.Server().SetPreHook(func(c *server.Peer, cmd string, args ...string) bool {
		if cmd != "EVALSHA" || args[0] != sha || left.Load() <= 0 || left.Add(-1) < 0 {
			return false
		}
		badly(s, c, append([]string{cmd}, args...))
		return true
	})
	return left
}

func loadingError(_ *scripts, c *server.Peer, _ []string) {
	c.WriteError("LOADING Redis is loading the dataset in memory")
}

// executeAndDrop executes a call; its answer goes nowhere, and the connection
// breaks.
func executeAndDrop(s *scripts, c *server.Peer, args []string) {
	s.mini.Server().Dispatch(server.NewPeer(bufio.NewWriter(io.Discard)), args)
	c.Close()
}
