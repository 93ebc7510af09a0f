package harness

import (
	"io"
	"net"
	"sync"
)

// Proxy stands between a replica and Redis and can do to their connections
// what networks do.
type Proxy struct {
	Addr string

	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	links map[*link]bool
}

type link struct {
	client, server net.Conn
	gate           *gate // shut: the connection stands, but nothing gets through
}

// NewProxy listens on a free address and connects to target.
func NewProxy(target string) (*Proxy, error) {
	l, err := freeListener()
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), listener: l, target: target, links: map[*link]bool{}}
	p.wg.Go(p.accept)
	return p, nil
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	l := &link{client: client, server: server, gate: newGate()}
	p.mu.Lock()
	cut := p.cut
	p.links[l] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()
	if cut {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { l.copy(server, client) })
	wg.Go(func() { l.copy(client, server) })
	wg.Wait()
}

// copy passes bytes on until either side is gone.
func (l *link) copy(dst io.Writer, src io.Reader) {
	defer l.close()
	buf := make([]byte, 32*1024)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		l.gate.pass()
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
	l.gate.set(false)
}

// Deafen leaves every present connection open and lets nothing through it any
// more. New connections work.
func (p *Proxy) Deafen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.gate.set(true)
	}
}

// Cut closes every connection and each new one, until Restore.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for l := range p.links {
		l.close()
	}
}

// Restore ends a Cut.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// Close ends the proxy with all its connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.Cut()
	p.wg.Wait()
}
