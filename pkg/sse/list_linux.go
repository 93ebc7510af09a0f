package sse

import (
	"context"
	"time"
)

// list asks the loops, one after the other, because they own what is asked for.
func (e *engine) list(ctx context.Context, f Filter, limit int) (list []Info, total int, err error) {
	holders := make(map[*loop][]*Holder)
	for _, holder := range f.Holders {
		if c, ok := holder.bound().(*conn); ok {
			holders[c.loop] = append(holders[c.loop], holder)
		}
	}
	for _, l := range e.loops {
		if f.Holders != nil && len(holders[l]) == 0 {
			continue
		}
		answer := make(chan struct{})
		var part []Info
		var n int
		left := limit - len(list)
		l.ask(func() {
			defer close(answer)
			part, n = l.list(f, holders[l], left)
		})
		select {
		case <-answer:
		case <-ctx.Done():
			return list, total, context.Cause(ctx)
		}
		list, total = append(list, part...), total+n
	}
	return list, total, nil
}

// ask has the loop run what reads of its connections. Nothing happens where the
// loop has ended.
func (l *loop) ask(question func()) {
	l.mu.Lock()
	l.in.questions = append(l.in.questions, question)
	l.mu.Unlock()
	l.wake()
}

// list is List for the connections of one loop.
func (l *loop) list(f Filter, holders []*Holder, limit int) (list []Info, total int) {
	add := func(c *conn) {
		if c == nil || c.state != opened && c.state != joining || f.Channel != "" && !c.has(f.Channel) {
			return
		}
		if total++; len(list) < limit {
			list = append(list, c.info())
		}
	}
	switch {
	case f.Holders != nil:
		for _, h := range holders {
			if c, ok := h.bound().(*conn); ok {
				add(c)
			}
		}
	case f.Channel != "":
		l.mu.Lock()
		feed := l.feeds[f.Channel]
		l.mu.Unlock()
		if feed != nil {
			for _, m := range feed.members {
				add(m.conn)
			}
		}
	default:
		for _, c := range l.slots {
			add(c)
		}
	}
	return list, total
}

func (c *conn) has(channel string) bool {
	for _, m := range c.feeds {
		if m.feed != nil && m.feed.name == channel {
			return true
		}
	}
	return false
}

func (c *conn) info() Info {
	i := Info{Connection: c.name(), Channels: []string{}, Since: time.UnixMilli(c.opened), Path: "loop"}
	for _, m := range c.feeds {
		if m.feed != nil {
			i.Channels = append(i.Channels, m.feed.name)
		}
	}
	if c.holder != nil {
		i.User, i.Token = c.holder.User, c.holder.TokenID
	}
	if c.expires != 0 {
		i.Expires = time.UnixMilli(c.expires)
	}
	return i
}
