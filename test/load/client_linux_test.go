package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// feed is a server of streams whose every byte the test decides.
type feed struct {
	ledger  *Ledger
	hijack  bool // close-delimited, in place of chunked
	mu      sync.Mutex
	streams map[string][]chan string // by channel
	lastIDs []string
	refuse  int // so many requests get a 503
	done    chan struct{}
}

func (f *feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if f.refuse > 0 {
		f.refuse--
		f.mu.Unlock()
		http.Error(w, "later", http.StatusServiceUnavailable)
		return
	}
	out := make(chan string, 100)
	channel := r.URL.Query().Get("channel")
	f.streams[channel] = append(f.streams[channel], out)
	f.lastIDs = append(f.lastIDs, r.Header.Get("Last-Event-ID"))
	f.mu.Unlock()
	write := func(text string) error {
		_, err := w.Write([]byte(text))
		return err
	}
	flush := http.NewResponseController(w).Flush
	if f.hijack {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		write = func(text string) error {
			_, err := conn.Write([]byte(text))
			return err
		}
		flush = func() error { return nil }
		_ = write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
	}
	for text := ":\n\n"; text != ""; {
		if write(text) != nil || flush() != nil {
			return
		}
		select {
		case text = <-out:
		case <-f.done:
			return
		}
	}
}

// send writes to all streams of a channel. An empty text ends them.
func (f *feed) send(channel, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, out := range f.streams[channel] {
		out <- text
	}
	if text == "" {
		delete(f.streams, channel)
	}
}

// publish makes the next event of a channel, which the server may or may not
// send.
func (f *feed) publish(i int) string {
	m := f.ledger.next(i)
	return fmt.Sprintf("id: %d\ndata: %s\n\n", m.Seq, m.AppendPayload(nil, 100))
}

func startFeed(t *testing.T, f *feed, streams int) *Client {
	t.Helper()
	f.ledger = NewLedger(2)
	f.streams, f.done = map[string][]chan string{}, make(chan struct{})
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	c, err := NewClient(ClientOptions{URL: server.URL + "/s?channel={channel}", Channels: []string{"a", "b"}, Streams: streams}, f.ledger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		close(f.done)
	})
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// await polls the tally until it is as wanted.
func await(t *testing.T, c *Client, what string, ok func(Tally) bool) Tally {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(time.Millisecond) {
		tally := c.Tally()
		if ok(tally) {
			return tally
		}
		if time.Now().After(end) {
			t.Fatalf("never %s: %+v, %v", what, tally, tally.Err)
		}
	}
}

func TestClientCountsWhatGoesWrong(t *testing.T) {
	for name, f := range map[string]*feed{"chunked": {}, "until the end": {hijack: true}} {
		t.Run(name, func(t *testing.T) {
			c := startFeed(t, f, 4) // two on each channel
			one, two, three, four := f.publish(0), f.publish(0), f.publish(0), f.publish(0)
			f.send("a", one)
			f.send("a", one+three) // one again, two skipped
			f.send("a", two)       // late
			f.send("b", four)      // of another channel
			f.send("a", "event: gateway.gap\ndata: {}\n\n")
			got := await(t, c, "all read", func(tally Tally) bool { return tally.Gaps == 2 && tally.Foreign == 2 })
			if got.Delivered != 6 || got.Lost != 2 || got.Repeated != 2 || got.Disordered != 2 || got.Streaming != 4 || got.Latency.Count() != 6 {
				t.Errorf("%+v", got)
			}
			// Lost at the end is not settled: it may come yet.
			if n := f.ledger.settled.Load(); n != 6 {
				t.Errorf("%d deliveries are settled", n)
			}
		})
	}
}

func TestClientComesBackWithTheLastID(t *testing.T) {
	f := &feed{hijack: true}
	c := startFeed(t, f, 2)
	one, two := f.publish(0), f.publish(0)
	f.send("a", one)
	await(t, c, "delivered", func(tally Tally) bool { return tally.Delivered == 1 })
	f.mu.Lock()
	f.streams, f.lastIDs, f.refuse = map[string][]chan string{}, nil, 2
	f.mu.Unlock()
	c.Drop()
	// That of b has missed nothing; that of a has to see the second event.
	await(t, c, "back", func(tally Tally) bool { return tally.Streaming == 2 && tally.CaughtUp == 1 })
	f.send("a", two)
	if err := c.AwaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	ids := strings.Join(f.lastIDs, "")
	f.mu.Unlock()
	if got := c.Tally(); ids != "1" || got.Delivered != 2 || got.Lost != 0 || got.Back.Count() != 2 || got.Err == nil {
		t.Errorf("came back with %q: %+v", ids, got)
	}
}

func TestClientSeesStreamsThatEnd(t *testing.T) {
	f := &feed{}
	c := startFeed(t, f, 4)
	one := f.publish(1)
	f.send("b", one+"event: gateway.close\ndata: {\"reason\":\"unavailable\"}\n\n")
	f.send("b", "")
	got := await(t, c, "back", func(tally Tally) bool { return tally.Closed == 2 && tally.Streaming == 4 })
	if got.Delivered != 2 || got.Failed != 0 || got.Err == nil || !strings.Contains(got.Err.Error(), "unavailable") {
		t.Errorf("%+v", got)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if ids := strings.Join(f.lastIDs, ""); ids != "11" {
		t.Errorf("came back with %q", ids)
	}
}

func TestClientGivesUp(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	c, err := NewClient(ClientOptions{URL: server.URL + "/{channel}", Channels: []string{"a"}, Streams: 3}, NewLedger(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "3 of 3 streams failed: status 404") {
		t.Error(err)
	}
}

func TestClientStopsWaiting(t *testing.T) {
	f := &feed{}
	c := startFeed(t, f, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.AwaitCaughtUp(ctx); err == nil {
		t.Error("caught up, though nothing was dropped")
	}
}
