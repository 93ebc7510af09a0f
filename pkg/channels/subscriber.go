package channels

import (
	"errors"
	"time"
)

// Waker is told that a subscriber may have something to fetch. Wake must not
// block; wakes may be merged, and may come without need. Several subscribers
// may share one Waker, which is then woken once per event.
type Waker interface{ Wake() }

// Deferrer is a Waker that would rather act after an announcement than hear of
// it meanwhile: WakeSoon is Wake, but that what it returns is kicked as soon as
// no lock is held any more, by who received the announcement. Like Wake it must
// not block, and nil is nobody to be kicked.
type Deferrer interface {
	Waker
	WakeSoon() Kicker
}

// Kicker acts on what it was told by WakeSoon. Kick may read from the channels'
// logs; it must not block.
type Kicker interface{ Kick() }

// kicks are who is to be kicked after an announcement.
type kicks struct {
	list [4]Kicker
	n    int
}

func (k *kicks) wake(w Waker) {
	d, ok := w.(Deferrer)
	if !ok || k.n == len(k.list) {
		w.Wake()
	} else if kicker := d.WakeSoon(); kicker != nil {
		k.list[k.n] = kicker
		k.n++
	}
}

func (k *kicks) kick() {
	for _, kicker := range k.list[:k.n] {
		kicker.Kick()
	}
}

// Request asks for one channel.
type Request struct {
	Channel string
	Start   Start
	// Group, if not nil, is woken in place of the subscription's own Waker by
	// what concerns everyone on the channel. Many subscriptions may share it.
	Group Waker
}

// Delivery is one thing for a subscriber: an event or a gap.
type Delivery struct {
	Channel int    // index into the requests
	Entry   *Entry // the event; nil where Gap is set
	Gap     *Gap
}

// Position is where the subscriber stands after this delivery.
func (d *Delivery) Position() Position {
	if d.Gap != nil {
		return d.Gap.at
	}
	return d.Entry.Position
}

// ErrSlow ends a subscriber that lags further behind than a channel with
// OnFull Disconnect allows.
var ErrSlow = errors.New("subscriber is too slow")

// Subscriber is one connection's subscriptions and their positions. All its
// methods belong to one goroutine.
type Subscriber struct {
	hub    *Hub
	subs   []*subscription // nil from Drop on
	marks  []Mark          // of the channels with history
	markOf []int32         // per channel its index in marks, or -1
	turn   int             // the channel whose turn it is
	pages  int             // that its subscriptions hold or wait for
	denied bool            // a subscription waits until there may be another page
}

// single is a Subscriber of one channel with all that it consists of: most
// connections have one, and so cost one piece of memory.
type single struct {
	Subscriber
	sub    subscription
	subs   [1]*subscription
	mark   [1]Mark
	markOf [1]int32
}

// newSubscriber returns one with room for n channels.
func newSubscriber(h *Hub, n int) *Subscriber {
	if n != 1 {
		return &Subscriber{hub: h, subs: make([]*subscription, n), marks: make([]Mark, 0, n), markOf: make([]int32, n)}
	}
	s := &single{}
	s.hub, s.Subscriber.subs, s.marks, s.Subscriber.markOf = h, s.subs[:], s.mark[:0], s.markOf[:]
	s.subs[0] = &s.sub
	return &s.Subscriber
}

// Begun tells whether all channels are joined, so that Next can deliver.
func (s *Subscriber) Begun(now time.Time) bool {
	r, begun := room{of: s}, false
	for again := true; again; again = r.freed && s.denied {
		r.freed, s.denied, begun = false, false, true
		for i, sub := range s.subs {
			if sub == nil {
				continue
			}
			sub.topic.mu.Lock()
			if sub.stage == starting && !sub.start(now, &r) {
				begun = false
			} else if m := s.markOf[i]; m >= 0 && s.marks[m].Position.IsZero() {
				s.marks[m].Position = sub.first
			}
			sub.topic.mu.Unlock()
		}
	}
	return begun
}

// Started returns where the i-th channel started, and whether it has history
// and therefore positions at all. Valid once Begun, and until Drop.
func (s *Subscriber) Started(i int) (p Position, history bool) {
	sub := s.subs[i]
	sub.topic.mu.Lock()
	defer sub.topic.mu.Unlock()
	return sub.first, sub.topic.policy.History()
}

// Channel returns the name of the i-th channel, until Drop.
func (s *Subscriber) Channel(i int) string { return s.subs[i].topic.channel }

// Len returns how many channels there are, those counted that were dropped.
func (s *Subscriber) Len() int { return len(s.subs) }

// room is how much a subscriber may still be given at once.
type room struct {
	events, bytes int
	of            *Subscriber
	freed         bool // a page was given back
}

// maxPages bounds what one subscriber holds of history, however many channels it
// has and however old its cursor is.
const maxPages = 4

// page tells whether there may be another page, and counts it.
func (r *room) page() bool {
	if r.of.pages >= maxPages {
		r.of.denied = true
		return false
	}
	r.of.pages++
	return true
}

func (r *room) giveBack() {
	r.of.pages--
	r.freed = true
}

func (r *room) left() bool { return r.events > 0 && r.bytes > 0 }

func (r *room) take(e *Entry) {
	r.events--
	r.bytes -= len(e.Encoded.Frame)
}

// Take returns frames that are ready and stand one after the other in memory,
// at most about limit bytes of them, and moves the cursor past them: nothing is
// copied or allocated. The bytes are shared, nobody may change them. more tells
// that Next has to be asked for what comes now. Only where Shared.
func (s *Subscriber) Take(now time.Time, limit int) (frames []byte, events int, more bool) {
	sub := s.subs[0]
	if sub == nil {
		return nil, 0, false
	}
	sub.topic.mu.Lock()
	defer sub.topic.mu.Unlock()
	frames, events, more = sub.run(now, limit)
	if events > 0 && s.markOf[0] >= 0 {
		s.marks[0].Position = sub.pos
	}
	return frames, events, more
}

// NextOf is Next of the i-th channel alone.
func (s *Subscriber) NextOf(i int, now time.Time, out []Delivery, limit, bytes int) ([]Delivery, error) {
	sub := s.subs[i]
	if sub == nil {
		return out, nil
	}
	r := room{events: limit, bytes: bytes, of: s}
	sub.topic.mu.Lock()
	out, err := sub.take(now, i, out, &r)
	sub.topic.mu.Unlock()
	if err == nil && r.freed && s.denied && r.left() {
		return s.Next(now, out, r.events, r.bytes)
	}
	return out, err
}

// Next appends what is ready to out, about limit events or as many as have
// about the given number of bytes, the channels in turn. Nothing appended means
// that there is nothing until the next Wake. The error is ErrSlow; what was
// appended before it is valid.
func (s *Subscriber) Next(now time.Time, out []Delivery, limit, bytes int) ([]Delivery, error) {
	r := room{events: limit, bytes: bytes, of: s}
	for again := true; again; again = r.freed && s.denied {
		r.freed, s.denied = false, false
		for range s.subs {
			i := s.turn % len(s.subs)
			s.turn = i + 1
			sub := s.subs[i]
			if sub == nil {
				continue
			}
			sub.topic.mu.Lock()
			var err error
			out, err = sub.take(now, i, out, &r)
			sub.topic.mu.Unlock()
			if err != nil || !r.left() {
				return out, err
			}
		}
	}
	return out, nil
}

// Advance notes that a delivery has been handed to the client: from now on it
// is in the cursor.
func (s *Subscriber) Advance(d *Delivery) {
	if m := s.markOf[d.Channel]; m >= 0 {
		s.marks[m].Position = d.Position()
	}
}

// AppendCursor appends the cursor's text to dst.
func (s *Subscriber) AppendCursor(dst []byte) []byte { return AppendCursor(dst, s.marks) }

// Shared tells whether the entries' Frame holds this subscriber's cursor as it
// is: with one channel it does, with several only from Body on.
func (s *Subscriber) Shared() bool { return len(s.subs) == 1 }

// Finish has Next give also what waits for the end of a window (see Conflate):
// for a connection that is about to end. What Next gives then is the last.
func (s *Subscriber) Finish() {
	for _, sub := range s.subs {
		if sub == nil {
			continue
		}
		sub.topic.mu.Lock()
		if w := sub.topic.window; w != nil && !sub.final {
			w.ending++
		}
		sub.final = true
		sub.topic.mu.Unlock()
	}
}

// Close ends the subscriptions. The channels stay subscribed in Redis for the
// hub's linger, so that a page reload costs nothing.
func (s *Subscriber) Close() {
	for i := range s.subs {
		s.Drop(i)
	}
	s.subs = nil
}

// Drop ends the subscription of the i-th channel; the others go on, and what
// Next gives has the same indices. The channel's place stays in the cursor: who
// gets the right back goes on where it was lost. Dropping twice is once.
func (s *Subscriber) Drop(i int) {
	sub := s.subs[i]
	if sub == nil {
		return
	}
	s.subs[i] = nil
	s.hub.release(sub)
	if sub.page != nil {
		s.pages--
	}
}

// Dropped tells whether the i-th channel's subscription has ended by Drop.
func (s *Subscriber) Dropped(i int) bool { return s.subs[i] == nil }
