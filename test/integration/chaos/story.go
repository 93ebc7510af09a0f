package chaos

import (
	"fmt"
	"time"
)

// thing is what a client saw happen to one channel.
type thing int

const (
	opened thing = iota // a stream began, and said where this channel starts
	event
	gap
)

// item is one line of a story.
type item struct {
	what thing
	when time.Time
	conn int // counts the client's connections
	// answer counts a poll's answers, 0 on a stream. An answer lists events and
	// gaps apart, so prove has to find the gaps' places.
	answer int

	n  int    // an event's number
	ms uint64 // and the time of its position

	from, to position // of a gap; where a stream began, in to
	reason   string
}

func (i item) String() string {
	at := fmt.Sprintf("%s conn %d", i.when.Format("05.000"), i.conn)
	if i.answer > 0 {
		at += fmt.Sprintf(" poll %d", i.answer)
	}
	switch i.what {
	case opened:
		return fmt.Sprintf("%s: opened after %v", at, i.to)
	case gap:
		return fmt.Sprintf("%s: gap %s (%v, %v]", at, i.reason, i.from, i.to)
	}
	return fmt.Sprintf("%s: event %d of %d", at, i.n, i.ms)
}

// story is everything one client saw of one channel, over all its connections.
type story struct {
	client, channel string
	items           []item
}
