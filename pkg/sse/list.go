package sse

import (
	"context"
	"slices"
	"time"
)

// Info describes an open stream or poll, for operators.
type Info struct {
	Connection string    `json:"connection"` // as in gateway.open
	User       string    `json:"user,omitempty"`
	Token      string    `json:"token,omitempty"` // the token's id (jti)
	Channels   []string  `json:"channels"`
	Since      time.Time `json:"since"`
	Expires    time.Time `json:"expires,omitzero"`
	Path       string    `json:"path"` // "loop", "goroutine" or "poll"
}

// Filter selects connections. The zero Filter selects all.
type Filter struct {
	// Holders, if not nil, are whose connections are listed.
	Holders []*Holder
	// Channel, if not empty, is one that they have.
	Channel string
}

// List describes at most limit of the selected connections, in no order, and
// tells how many there are. What it costs depends on how many are selected, not
// on how many there are, unless by Channel alone where streams have goroutines.
// The error is ctx's.
func (h *Handler) List(ctx context.Context, f Filter, limit int) (list []Info, total int, err error) {
	for _, s := range h.described(f) {
		info := s.info()
		if f.Channel != "" && !slices.Contains(info.Channels, f.Channel) {
			continue
		}
		if total++; len(list) < limit {
			list = append(list, info)
		}
	}
	if h.engine == nil {
		return list, total, ctx.Err()
	}
	more, n, err := h.engine.list(ctx, f, limit-len(list))
	return append(list, more...), total + n, err
}

// described returns the selected connections that are not the loops'.
func (h *Handler) described(f Filter) (list []*stream) {
	if f.Holders != nil {
		for _, holder := range f.Holders {
			if s, ok := holder.bound().(*stream); ok {
				list = append(list, s)
			}
		}
		return list
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams {
		if s, ok := s.(*stream); ok {
			list = append(list, s)
		}
	}
	return list
}

// named has the stream listed with what it was asked for.
func (s *stream) named(path string, session *Session) {
	names := make([]string, len(session.Requests))
	for i, r := range session.Requests {
		names[i] = r.Channel
	}
	info := Info{Connection: s.id, Channels: names, Since: s.opened, Expires: session.Expires, Path: path}
	if session.Holder != nil {
		info.User, info.Token = session.Holder.User, session.Holder.TokenID
	}
	s.about.Store(&info)
}

// lost takes channels out of the list.
func (s *stream) lost(names []string) {
	if len(names) == 0 {
		return
	}
	info := *s.about.Load()
	info.Channels = slices.DeleteFunc(slices.Clone(info.Channels), func(name string) bool { return slices.Contains(names, name) })
	s.about.Store(&info)
}

func (s *stream) info() Info {
	if info := s.about.Load(); info != nil {
		return *info
	}
	return Info{Connection: s.id, Since: s.opened, Channels: []string{}}
}
