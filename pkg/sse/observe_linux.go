package sse

// delivered gives a sample of how late events are: that of the last member that
// was written to in one go, so that those who wait longest are heard.
func (l *loop) delivered(m member) {
	hook := l.h.o.Hooks.Delivered
	if hook == nil || l.clock-l.sample < sampleInterval.Milliseconds() || !m.conn.writable() {
		return
	}
	if p, live := m.conn.sub.Live(int(m.channel)); live {
		l.sample = l.clock
		hook(l.h.age(p))
	}
}

// sent tells that all members of a feed have had their turn.
func (l *loop) sent(f *feed) {
	m := f.given
	f.given = member{} // or it keeps a connection that is gone
	hook := l.h.o.Hooks.Sent
	if hook == nil || m.conn == nil || !m.conn.writable() {
		return
	}
	if p, live := m.conn.sub.Live(int(m.channel)); live && f.told != p {
		hook(f.name, f.told, p, len(f.members))
		f.told = p
	}
}

// writable tells whether what a connection has taken is on its way.
func (c *conn) writable() bool { return c.state == opened && !c.full }
