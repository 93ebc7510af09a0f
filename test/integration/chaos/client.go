package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"realtime-gateway/test/integration/harness"
)

// client reads some channels as an unreliable browser does: it leaves, comes
// back at any replica with the cursor of the last event it has taken, and at
// times does not read.
type client struct {
	name     string
	channels []string
	steady   bool // it leaves only when it is thrown out
	lazy     bool // it stops reading at times
	world    *world
	random   *rand.Rand
	settle   <-chan struct{} // closed: from now on it stays and reads

	cursor  string
	conn    int
	answers int

	mu      sync.Mutex
	stories map[string]*story
	closes  map[string]int // gateway.close by reason
	refused []string
}

func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		// Only a stream says where a client without a cursor begins.
		if c.cursor != "" && !c.settled() && c.random.IntN(5) == 0 {
			c.poll(ctx)
		} else {
			c.stream(ctx)
		}
		pause := time.Duration(20+c.random.IntN(200)) * time.Millisecond
		if !c.steady && c.random.IntN(6) == 0 {
			pause += time.Duration(c.random.IntN(2000)) * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-c.settle:
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		case <-time.After(pause):
		}
	}
}

func (c *client) settled() bool {
	select {
	case <-c.settle:
		return true
	default:
		return false
	}
}

// stay is how long a connection lasts if nothing ends it.
func (c *client) stay() time.Duration {
	return time.Duration(200+c.random.ExpFloat64()*1500) * time.Millisecond
}

func (c *client) stream(ctx context.Context) {
	stay, post := c.stay(), c.random.IntN(4) == 0
	readFor := time.Duration(100+c.random.IntN(1000)) * time.Millisecond
	idleFor := time.Duration(300+c.random.IntN(1500)) * time.Millisecond

	sub := harness.Subscribe{Channels: c.channels, From: c.cursor}
	if c.lazy {
		sub.ReceiveBuffer = 4096
	}
	if post {
		sub.From, sub.Body = "", map[string]any{"channel": c.channels, "lastEventId": c.cursor}
	}
	s, err := harness.Open(c.world.balancer.URL(), sub)
	if err != nil {
		return
	}
	defer s.Close()
	c.conn++
	if s.Status != http.StatusOK {
		c.refuse(s.Status, s.Problem)
		return
	}
	stop := context.AfterFunc(ctx, s.Close)
	defer stop()

	began := time.Now()
	for taken := 0; ; {
		// Ends early at every event, and in time for the other decisions.
		v, _ := s.Wait("more", 100*time.Millisecond, func(v harness.View) bool { return len(v.Events) > taken || v.Ended })
		for _, e := range v.Events[taken:] {
			c.take(e)
		}
		taken = len(v.Events)
		age := time.Since(began)
		switch settled := c.settled(); {
		case v.Ended || ctx.Err() != nil:
			return
		case settled:
			s.Resume()
		case !c.steady && age > stay:
			return
		case c.lazy && age > readFor && age < readFor+idleFor:
			s.Pause()
		case c.lazy:
			s.Resume()
		}
	}
}

// take notes what one event of a stream says.
func (c *client) take(e harness.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.ID != "" { // a browser keeps the last one over its connections
		c.cursor = e.ID
	}
	switch e.Name {
	case "gateway.open":
		var o struct{ Channels map[string]string }
		_ = json.Unmarshal([]byte(e.Data), &o)
		for _, channel := range c.channels {
			at, err := parsePosition(o.Channels[channel])
			if err != nil {
				c.refused = append(c.refused, "gateway.open: "+e.Data)
				continue
			}
			c.add(channel, item{what: opened, when: e.At, to: at})
		}
	case "gateway.close":
		c.closes[e.Reason]++
	case "gateway.error":
		c.refused = append(c.refused, e.Name+": "+e.Data)
	default:
		c.note(e, 0)
	}
}

// note adds an event or a gap to the story of its channel.
func (c *client) note(e harness.Event, answer int) {
	i := item{when: e.At, answer: answer}
	switch e.Name {
	case "gateway.gap":
		var err1, err2 error
		i.what, i.reason = gap, e.Reason
		i.from, err1 = parsePosition(fmt.Sprint(e.From))
		i.to, err2 = parsePosition(fmt.Sprint(e.To))
		if err1 != nil || err2 != nil {
			c.refused = append(c.refused, "gateway.gap: "+e.Data)
			return
		}
	default:
		at, err := time.Parse(time.RFC3339, e.Timestamp)
		if err != nil || e.N == 0 {
			c.refused = append(c.refused, e.Name+": "+e.Data)
			return
		}
		i.what, i.n, i.ms = event, e.N, uint64(at.UnixMilli())
	}
	c.add(e.Channel, i)
}

func (c *client) add(channel string, i item) {
	s := c.stories[channel]
	if s == nil {
		c.refused = append(c.refused, fmt.Sprintf("something of %s, which it is not on: %v", channel, i))
		return
	}
	i.conn = c.conn
	s.items = append(s.items, i)
}

func (c *client) poll(ctx context.Context) {
	stay := c.stay()
	ctx, cancel := context.WithTimeout(ctx, stay)
	defer cancel()
	query := url.Values{"channel": c.channels, "mode": {"poll"}, "lastEventId": {c.cursor}}
	entrance := c.world.balancer.URL()
	c.conn++
	for ctx.Err() == nil && !c.settled() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, entrance+"/v1/events?"+query.Encode(), nil)
		if err != nil {
			return
		}
		resp, err := harness.Client.Do(req)
		if err != nil {
			return
		}
		var answer struct {
			Events, Gaps []json.RawMessage
			Cursor       string
		}
		var problem string
		if resp.StatusCode == http.StatusOK {
			err = json.NewDecoder(resp.Body).Decode(&answer)
		} else {
			err = fmt.Errorf("status %d", resp.StatusCode)
			problem = resp.Header.Get("Content-Type")
		}
		resp.Body.Close()
		if err != nil {
			// An answer that was cut off was not given.
			c.refuse(resp.StatusCode, problem)
			return
		}
		c.mu.Lock()
		c.answers++
		for _, raw := range answer.Events {
			c.note(polled("count", raw), c.answers)
		}
		for _, raw := range answer.Gaps {
			c.note(polled("gateway.gap", raw), c.answers)
		}
		c.cursor = answer.Cursor
		c.mu.Unlock()
		query.Set("lastEventId", c.cursor)
	}
}

func polled(name string, raw json.RawMessage) harness.Event {
	e := harness.Event{Name: name, Data: string(raw), At: time.Now()}
	_ = json.Unmarshal(raw, &e.Fields) // note judges it
	return e
}

// refuse notes an answer after which a browser never comes back.
func (c *client) refuse(status int, problem string) {
	if status/100 != 4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = append(c.refused, fmt.Sprintf("status %d: %s", status, problem))
}

// copied returns the stories as they are now.
func (c *client) copied() []*story {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*story
	for _, s := range c.stories {
		out = append(out, &story{client: s.client, channel: s.channel, items: s.items[:len(s.items):len(s.items)]})
	}
	return out
}
