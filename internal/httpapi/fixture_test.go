package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"realtime-gateway/internal/auth"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
	"realtime-gateway/pkg/sse"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// quiet is a channels.Broker of channels in which nothing happens.
type quiet struct {
	hub     *channels.Hub
	reading func() // called by Read, if not nil
}

func (b *quiet) Subscribe(channel string, _ bool) { go b.hub.Confirmed(channel) }
func (b *quiet) Unsubscribe(string, bool)         {}
func (b *quiet) CheckChannel(string) error        { return nil }
func (b *quiet) Ready() bool                      { return true }
func (b *quiet) Verify(context.Context) error     { return nil }
func (b *quiet) tops(names []string) []channels.Top {
	return slices.Repeat([]channels.Top{{Position: channels.Position{Millis: 1}}}, len(names))
}
func (b *quiet) Open(_ context.Context, names []string) []channels.Top  { return b.tops(names) }
func (b *quiet) Renew(_ context.Context, names []string) []channels.Top { return b.tops(names) }
func (b *quiet) Tops(_ context.Context, names []string) []channels.Top  { return b.tops(names) }
func (b *quiet) Tails(_ context.Context, r []channels.TailRequest) []channels.Tail {
	return make([]channels.Tail, len(r))
}
func (b *quiet) Read(context.Context, string, channels.Position, int) ([]channels.Event, error) {
	if b.reading != nil {
		b.reading()
	}
	return nil, nil
}
func (b *quiet) Newest(context.Context, string, int) ([]channels.Event, error) { return nil, nil }
func (b *quiet) MarkLost(context.Context, string, channels.Loss, time.Duration) (bool, error) {
	return false, nil
}

// Publish makes it a Publisher too.
func (b *quiet) Publish(context.Context, redisbus.Message) (channels.Position, error) {
	return channels.Position{Millis: 2}, nil
}

// wire returns what the interface needs to serve quiet channels, with the given
// policies and tokens by testSecret, until the test ends.
func wire(t *testing.T, policies []channels.Policy, o sse.Options) Options {
	t.Helper()
	list, err := channels.NewPolicies(policies)
	if err != nil {
		t.Fatal(err)
	}
	broker := &quiet{}
	broker.hub = channels.NewHub(channels.Options{Broker: broker, Policies: list, Encode: sse.EncodeEvent})
	o.Hub = broker.hub
	streams, err := sse.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { broker.hub.Run(ctx) })
	running.Go(func() { streams.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	verifier, err := auth.New(ctx, auth.Options{Secret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	return Options{Hub: broker.hub, Streams: streams, Publisher: broker, Verifier: verifier}
}

// serve serves the interface over HTTP until the test ends.
func serve(t *testing.T, policies []channels.Policy, change func(*Options)) *httptest.Server {
	t.Helper()
	o := wire(t, policies, sse.Options{PollTimeout: time.Millisecond})
	o.MaxChannels = 4
	if change != nil {
		change(&o)
	}
	server := httptest.NewServer(New(o))
	t.Cleanup(server.Close)
	return server
}

func policy(t *testing.T, pattern string, subscribe, publish channels.Access) channels.Policy {
	t.Helper()
	p, err := channels.ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return channels.Policy{Pattern: p, HistorySize: 10, Subscribe: subscribe, Publish: publish}
}

// token signs what a user may read, with further claims.
func token(t *testing.T, user string, subscribe []string, claims map[string]any) string {
	t.Helper()
	text, err := auth.Sign(testSecret, auth.Grant{Subject: user, Subscribe: subscribe, Claims: claims}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// reply is an answer: of a stream that began its channels, else what the
// problem says.
type reply struct {
	status   int
	channels []string // sorted
	detail   string
	refused  string // the problem's channel
}

// answerTo asks and reads an answer, of a stream no more than its first event.
func answerTo(t *testing.T, method, url, token, body string) reply {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if method == http.MethodGet {
		body = "" // takes none
	}
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got := reply{status: answer.StatusCode}
	if !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		var p Problem
		if json.Unmarshal(text, &p) == nil {
			got.detail, got.refused = p.Detail, p.Channel
		}
		return got
	}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var open struct{ Channels map[string]any }
			if err := json.Unmarshal([]byte(data), &open); err != nil {
				t.Fatal(err)
			}
			got.channels = slices.Sorted(maps.Keys(open.Channels))
			return got
		}
	}
	t.Fatalf("the stream ended before its first event: %v", lines.Err())
	return got
}
