package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// Proxy stands between a replica and Redis and can do to their connections
// what networks do. Where it closes a connection it resets it, as a crashed
// host does. Safe for concurrent use by one test.
type Proxy struct {
	Addr string

	proxy *toxiproxy.Proxy
}

// NewProxy listens on a free address and connects to target.
func NewProxy(target string) (*Proxy, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &Proxy{Addr: addr, proxy: toxiproxy.NewProxy(server, addr, addr, target)}
	if err := p.listen(); err != nil {
		return nil, err
	}
	// It is applied to nothing, but makes every connection end with a reset.
	return p, p.add(toxic{Name: "linger", Type: "reset_peer", Stream: downstream})
}

// listen tries again, because a process that is being started at the moment
// holds a copy of a closed listener until it has replaced itself.
func (p *Proxy) listen() error {
	return Until("the proxy listens", Deadline, func() error {
		if err := p.proxy.Start(); !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
			return err
		}
		return nil
	})
}

// Deafen leaves every present connection open and lets nothing through it any
// more. New connections work.
func (p *Proxy) Deafen() error {
	for _, direction := range []string{upstream, downstream} {
		t := toxic{Name: "deaf " + direction, Type: "hole", Stream: direction, Toxicity: 1}
		if err := p.add(t); err != nil {
			return err
		}
		p.proxy.Toxics.GetToxic(t.Name).Toxic.(*hole).over.Store(true)
	}
	return nil
}

// BlackHole leaves every present connection open, accepts new ones, and lets
// nothing through any of them, until Restore: then what was held arrives.
func (p *Proxy) BlackHole() error {
	return errors.Join(
		p.add(toxic{Type: "hole", Stream: upstream, Toxicity: 1}),
		p.add(toxic{Type: "hole", Stream: downstream, Toxicity: 1}))
}

// RefuseNext closes the next n connections as soon as they are made.
func (p *Proxy) RefuseNext(n int) error {
	err := p.add(toxic{Name: "refuse", Type: "refuse", Stream: downstream, Toxicity: 1, Attributes: map[string]any{"times": n}})
	if err == nil {
		p.proxy.Toxics.GetToxic("refuse").Toxic.(*refuse).begun.Store(true)
	}
	return err
}

// Refused tells how many connections RefuseNext has closed.
func (p *Proxy) Refused() int {
	t := p.proxy.Toxics.GetToxic("refuse")
	if t == nil {
		return 0
	}
	return int(t.Toxic.(*refuse).done.Load())
}

// ResetAfter resets each connection, present and new, once so many more bytes
// have come back over it, until Restore.
func (p *Proxy) ResetAfter(bytes int) error {
	return p.add(toxic{Type: "limit_data", Stream: downstream, Toxicity: 1, Attributes: map[string]any{"bytes": bytes}})
}

// Delay lets everything arrive later by d, in each direction.
func (p *Proxy) Delay(d time.Duration) error {
	attributes := map[string]any{"latency": d.Milliseconds()}
	return errors.Join(
		p.add(toxic{Type: "latency", Stream: upstream, Toxicity: 1, Attributes: attributes}),
		p.add(toxic{Type: "latency", Stream: downstream, Toxicity: 1, Attributes: attributes}))
}

// Slice lets what comes back arrive one byte at a time.
func (p *Proxy) Slice() error {
	return p.add(toxic{Type: "slicer", Stream: downstream, Toxicity: 1, Attributes: map[string]any{"average_size": 1, "delay": 20}})
}

// Cut closes every connection and refuses each new one, until Restore.
func (p *Proxy) Cut() { p.proxy.Stop() }

// Restore ends every fault. Connections that were deaf stay open and hear
// what was held back.
func (p *Proxy) Restore() error {
	for _, t := range p.proxy.Toxics.GetToxicArray() {
		name := t.(*toxics.ToxicWrapper).Name
		if name == "linger" {
			continue
		}
		if err := p.proxy.Toxics.RemoveToxic(context.Background(), name); err != nil {
			return err
		}
	}
	return p.listen()
}

// Close ends the proxy with all its connections.
func (p *Proxy) Close() { p.proxy.Stop() }

const (
	upstream   = "upstream"
	downstream = "downstream"
)

// toxic is a fault as toxiproxy wants it described.
type toxic struct {
	Name       string         `json:"name,omitempty"`
	Type       string         `json:"type"`
	Stream     string         `json:"stream"`
	Toxicity   float32        `json:"toxicity"` // the share of connections that get it
	Attributes map[string]any `json:"attributes,omitempty"`
}

func (p *Proxy) add(t toxic) error {
	text, err := json.Marshal(t)
	if err == nil {
		_, err = p.proxy.Toxics.AddToxicJson(bytes.NewReader(text))
	}
	if err != nil {
		return fmt.Errorf("proxy: %s: %w", t.Type, err)
	}
	return nil
}

func init() {
	toxics.Register("hole", new(hole))
	toxics.Register("refuse", new(refuse))
}

// hole keeps what it gets for itself. toxiproxy's own timeout toxic closes the
// connections when it is removed, and holds new ones as well.
type hole struct {
	over atomic.Bool // new connections are spared
}

// held is what a hole keeps of one connection.
type held struct {
	spared bool
	chunks []*stream.StreamChunk
}

func (h *hole) NewState() any { return &held{spared: h.over.Load()} }

func (h *hole) Pipe(stub *toxics.ToxicStub) {
	state := stub.State.(*held)
	if state.spared {
		new(toxics.NoopToxic).Pipe(stub)
		return
	}
	for {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			state.chunks = append(state.chunks, c)
		}
	}
}

// Cleanup lets go.
func (h *hole) Cleanup(stub *toxics.ToxicStub) {
	for _, c := range stub.State.(*held).chunks {
		if stub.WriteOutput(c, Deadline) != nil {
			return
		}
	}
}

// refuse closes the first connections that are made while it is there.
type refuse struct {
	Times int64 `json:"times"`
	done  atomic.Int64
	begun atomic.Bool // connections from before are spared
}

func (r *refuse) NewState() any {
	if !r.begun.Load() || r.done.Load() >= r.Times {
		return false
	}
	r.done.Add(1)
	return true
}

func (r *refuse) Pipe(stub *toxics.ToxicStub) {
	if stub.State.(bool) {
		stub.Close()
		return
	}
	new(toxics.NoopToxic).Pipe(stub)
}
