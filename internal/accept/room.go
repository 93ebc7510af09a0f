package accept

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"realtime-gateway/internal/limit"
)

// waitingRoom is where connections wait for a place, those of each address in
// the order in which they came. It belongs to the Listener, whose lock guards
// it.
type waitingRoom struct {
	silence time.Duration // how long one may wait and say nothing when the room is full
	swept   time.Time     // when somebody was last looked for who says nothing
	count   int
	peers   map[netip.Addr]*peer // those that wait or have places
	queue   []*peer              // those that wait, in the order of their turns
}

// peer is an address that connections come from.
type peer struct {
	address netip.Addr
	held    int // places
	waiting []guest
}

// guest is a connection that waits.
type guest struct {
	conn  net.Conn
	since time.Time
}

func newWaitingRoom(silence time.Duration) waitingRoom {
	return waitingRoom{silence: silence, peers: make(map[netip.Addr]*peer)}
}

// addressOf returns the address that a connection counts for. What has no IP
// address, as over a Unix socket, counts for the same.
func addressOf(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return limit.Network(tcp.AddrPort().Addr())
}

func (r *waitingRoom) add(c net.Conn, now time.Time) {
	address := addressOf(c)
	p := r.peers[address]
	if p == nil {
		p = &peer{address: address}
		r.peers[address] = p
	}
	if len(p.waiting) == 0 {
		r.queue = append(r.queue, p)
	}
	p.waiting = append(p.waiting, guest{c, now})
	r.count++
}

// next returns the address whose turn it is: the first that has the fewest
// places. Nil if nobody waits.
func (r *waitingRoom) next() (next *peer) {
	for _, p := range r.queue {
		if next == nil || p.held < next.held {
			next = p
		}
		if next.held == 0 {
			break
		}
	}
	return next
}

// leave takes the first connection of an address out, and puts the address at
// the end of the queue.
func (r *waitingRoom) leave(p *peer) net.Conn {
	c := p.waiting[0].conn
	p.waiting[0] = guest{}
	p.waiting = p.waiting[1:]
	r.count--
	at := slices.Index(r.queue, p)
	r.queue = slices.Delete(r.queue, at, at+1)
	if len(p.waiting) > 0 {
		r.queue = append(r.queue, p)
	} else {
		p.waiting = nil
	}
	return c
}

// forget drops an address that neither waits nor has places.
func (r *waitingRoom) forget(p *peer) {
	if p.held == 0 && len(p.waiting) == 0 {
		delete(r.peers, p.address)
	}
}

// full tells whether no more can wait, and how many were dropped. Before it says so it closes, of the
// address that has most here, those that have waited long and said nothing.
// A client speaks as soon as it is connected, so these have nothing to lose;
// net/http would close them as well, only later.
func (r *waitingRoom) full(now time.Time) (dropped int, full bool) {
	if r.count < Waiting {
		return 0, false
	}
	if now.Sub(r.swept) >= r.silence {
		r.swept = now
		dropped = r.sweep(now)
	}
	return dropped, r.count >= Waiting
}

func (r *waitingRoom) sweep(now time.Time) (dropped int) {
	most := slices.MaxFunc(r.queue, func(a, b *peer) int { return len(a.waiting) - len(b.waiting) })
	before := len(most.waiting)
	most.waiting = slices.DeleteFunc(most.waiting, func(g guest) bool {
		if now.Sub(g.since) < r.silence || spoke(g.conn) {
			return false
		}
		_ = g.conn.Close()
		return true
	})
	dropped = before - len(most.waiting)
	r.count -= dropped
	if len(most.waiting) == 0 {
		r.queue = slices.DeleteFunc(r.queue, func(p *peer) bool { return p == most })
		r.forget(most)
	}
	return dropped
}

// clear closes all that wait.
func (r *waitingRoom) clear() {
	for _, p := range r.queue {
		for _, g := range p.waiting {
			_ = g.conn.Close()
		}
		p.waiting = nil
		r.forget(p)
	}
	r.queue, r.count = nil, 0
}
