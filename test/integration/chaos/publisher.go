package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/test/integration/harness"
)

// way is how a channel is published on.
type way int

const (
	byFunction way = iota
	byPublish
	byHTTP
)

const (
	// attemptLimit is how long a publish may be without an answer before it is
	// tried again.
	attemptLimit  = 2 * time.Second
	attemptsPause = 30 * time.Millisecond
)

// publisher sends numbered events on one channel, each of them again until it
// is acknowledged, so that the numbers in the stream ascend.
type publisher struct {
	channel string
	way     way
	trimmed bool
	padding string // makes a channel's events big
	pace    time.Duration
	world   *world
	random  *rand.Rand
	bursts  chan int

	mu   sync.Mutex
	n    int
	acks []ack
}

// number reads an event's number back.
func number(payload string) int {
	var f harness.Fields
	if json.Unmarshal([]byte(payload), &f) != nil {
		return 0
	}
	return f.N
}

func (p *publisher) payload(n int) string {
	return fmt.Sprintf(`{"type":"count","n":%d,"data":"%s"}`, n, p.padding)
}

func (p *publisher) eventID(n int) string { return fmt.Sprintf("%s-%d", p.channel, n) }

// run publishes until ctx ends. What was begun is finished, unless hard ends.
func (p *publisher) run(ctx, hard context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case size := <-p.bursts:
			p.burst(hard, size)
		case <-time.After(p.pace/2 + rand.N(p.pace)):
			p.next(hard)
		}
	}
}

func (p *publisher) next(ctx context.Context) {
	p.n++
	n := p.n
	if p.way == byPublish {
		attempt, cancel := context.WithTimeout(ctx, attemptLimit)
		defer cancel()
		// Without an answer nobody knows whether it was published, and to repeat
		// it would be another event.
		_ = p.world.db.Publish(attempt, p.channel, p.payload(n)).Err()
		return
	}
	p.untilAcknowledged(ctx, func(ctx context.Context) ([]ack, error) {
		send := p.byFunction
		if p.way == byHTTP {
			send = p.byHTTP
		}
		at, err := send(ctx, n)
		return []ack{{n: n, at: at}}, err
	})
}

func (p *publisher) untilAcknowledged(ctx context.Context, send func(context.Context) ([]ack, error)) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, attemptLimit)
		acks, err := send(attempt)
		cancel()
		if err == nil {
			p.mu.Lock()
			for _, a := range acks {
				a.when = time.Now()
				p.acks = append(p.acks, a)
			}
			p.mu.Unlock()
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(attemptsPause):
		}
	}
}

func (p *publisher) byFunction(ctx context.Context, n int) (position, error) {
	text, err := p.world.db.FCall(ctx, "gateway_publish", []string{"gw:" + p.channel}, p.payload(n), "EVENTID", p.eventID(n)).Text()
	if err != nil {
		return position{}, err
	}
	return parsePosition(text)
}

// burst publishes many events in one transaction, so that Redis announces all
// of them before it writes to any subscriber.
func (p *publisher) burst(ctx context.Context, size int) {
	first := p.n + 1
	p.n += size
	p.untilAcknowledged(ctx, func(ctx context.Context) ([]ack, error) {
		pipe := p.world.db.TxPipeline()
		for n := first; n < first+size; n++ {
			pipe.FCall(ctx, "gateway_publish", []string{"gw:" + p.channel}, p.payload(n), "EVENTID", p.eventID(n))
		}
		answers, err := pipe.Exec(ctx)
		if err != nil {
			return nil, err
		}
		var acks []ack
		for i, a := range answers {
			text, err := a.(*redis.Cmd).Text()
			if err != nil {
				return nil, err
			}
			at, err := parsePosition(text)
			if err != nil {
				return nil, err
			}
			acks = append(acks, ack{n: first + i, at: at})
		}
		return acks, nil
	})
}

// publishers is the token of publishers by HTTP.
var publishers = harness.Token{Sub: "chaos", Publish: []string{"**"}}.Sign()

func (p *publisher) byHTTP(ctx context.Context, n int) (position, error) {
	target := fmt.Sprintf("%s/v1/channels/%s/events?eventId=%s", p.world.balancer.URL(), p.channel, url.QueryEscape(p.eventID(n)))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(p.payload(n)))
	if err != nil {
		return position{}, err
	}
	req.Header.Set("Authorization", "Bearer "+publishers)
	resp, err := harness.Client.Do(req)
	if err != nil {
		return position{}, err
	}
	defer resp.Body.Close()
	var answer struct{ Position string }
	if resp.StatusCode != http.StatusOK {
		return position{}, fmt.Errorf("status %d", resp.StatusCode)
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return position{}, err
	}
	return parsePosition(answer.Position)
}

// truth reads what became of the publisher's channel.
func (p *publisher) truth(ctx context.Context) (*truth, error) {
	entries, err := readStream(ctx, p.world.db, p.channel)
	p.mu.Lock()
	defer p.mu.Unlock()
	return &truth{channel: p.channel, stream: entries, acks: p.acks[:len(p.acks):len(p.acks)], trimmed: p.trimmed}, err
}
