package channels

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
)

// Conflate is how a policy thins its channels out: of the events of one key
// within a window, live subscribers get the newest only.
type Conflate struct {
	// By says where an event has its key: the names of nested members, parted by
	// dots, in the event's JSON as subscribers get it (see Render). The key is a
	// string, number or boolean, compared as it is written. Events without one
	// are all delivered. If empty, nothing is conflated.
	By string
	// Window is how long events may wait for a newer one of their key. Required
	// with By.
	Window time.Duration
}

// Limits of a Conflate.
const (
	MinConflateWindow = time.Millisecond
	MaxConflateWindow = time.Hour
	MaxConflateBy     = 255 // bytes
)

// Conflates tells whether the channel's events are conflated.
func (p *Policy) Conflates() bool { return p.Conflate.By != "" }

// CheckConflateBy returns what is wrong with a path for Conflate.By.
func CheckConflateBy(by string) error {
	switch {
	case by == "":
		return fmt.Errorf("is empty")
	case len(by) > MaxConflateBy:
		return fmt.Errorf("has %d bytes, allowed are %d", len(by), MaxConflateBy)
	case !utf8.ValidString(by) || strings.ContainsFunc(by, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("has a control character or is not UTF-8")
	}
	for i, name := range strings.Split(by, ".") {
		if name == "" {
			return fmt.Errorf("has no name in part %d", i+1)
		}
	}
	return nil
}

func (p *Policy) checkConflate() error {
	c := p.Conflate
	if c == (Conflate{}) {
		return nil
	}
	if err := CheckConflateBy(c.By); err != nil {
		return fmt.Errorf("conflate.by %w", err)
	}
	if c.Window < MinConflateWindow || c.Window > MaxConflateWindow || c.Window%time.Millisecond != 0 {
		return fmt.Errorf("conflate.window is %v, allowed are whole milliseconds from %v to %v", c.Window, MinConflateWindow, MaxConflateWindow)
	}
	for _, d := range []struct {
		name string
		ttl  time.Duration
		on   bool
	}{{"messageTTL", p.MessageTTL, p.MessageTTL > 0}, {"historyTTL", p.HistoryTTL, p.History()}} {
		if d.on && d.ttl <= c.Window {
			return fmt.Errorf("conflate.window is %v, allowed is less than %s, which is %v: events would be too old before they are delivered", c.Window, d.name, d.ttl)
		}
	}
	return nil
}

// window holds events of a topic back, so that newer ones of the same key can
// take their places. Guarded by the topic's lock.
//
// All events are in the topic's log, which joins, resumes and reads as ever.
// The window is the log's end that subscriptions do not see yet. The first
// event after a quiet time is seen at once and opens the window. At its end all
// that came meanwhile is shown; if there was any, the window begins again.
// Within it an event is superseded by the next of its key (Entry.newer), and
// subscriptions pass it by. Nothing but that is decided here, so a position
// means the same as on other channels: who resumes from one gets all that comes
// after it and is not superseded by something that comes later still.
type window struct {
	path   [][]byte
	length time.Duration
	timer  *time.Timer // nil until the first event
	open   bool
	closed bool // the topic has ended: nothing is held back any more

	shown   int64             // index of the first entry that is held back
	seq     int64             // of the last event before it
	newest  map[string]*Entry // of those held back, by key
	current int               // those held back that are not superseded
	bytes   int               // of all that are held back
	ending  int               // subscriptions that see it nevertheless: Finish
}

func newWindow(p *Policy) *window {
	if !p.Conflates() {
		return nil
	}
	w := &window{length: p.Conflate.Window, newest: make(map[string]*Entry)}
	for name := range strings.SplitSeq(p.Conflate.By, ".") {
		w.path = append(w.path, []byte(name))
	}
	return w
}

// visible is the index of the first entry that subscriptions may not see yet.
func (t *topic) visible() int64 {
	if t.window == nil {
		return t.log.next()
	}
	return max(t.window.shown, t.log.first)
}

// visible is the topic's, or the log's end for a subscription that ends.
func (s *subscription) visible() int64 {
	if s.final {
		return s.topic.log.next()
	}
	return s.topic.visible()
}

// holding tells whether the log's newest entry is held back, so that nobody
// need be woken for it.
func (t *topic) holding() bool { return t.visible() < t.log.next() }

// lag is how many events the subscription is behind: of a conflated channel
// those that it would be given, without those that are held back.
func (s *subscription) lag() int64 {
	t := s.topic
	if t.window == nil {
		return t.log.next() - s.index
	}
	return t.log.seqBefore(t.visible()) - s.seq
}

// newest is the index of the newest n events that subscriptions may see.
func (t *topic) newest(n int64) int64 {
	end := t.visible()
	if t.window == nil {
		return max(end-n, t.log.first)
	}
	seq := t.log.seqBefore(end)
	return t.log.first + int64(sort.Search(int(end-t.log.first), func(i int) bool {
		return seq-t.log.seqBefore(t.log.first+int64(i)) <= n
	}))
}

// superseded tells whether a subscriber is given a newer event of the same key
// instead. One that Redis has lost since is not given to who comes back, so it
// does not count for them.
func (e *Entry) superseded(caughtUp bool) bool {
	return e.newer != nil && (caughtUp || !e.newer.gone)
}

// hold decides about the entry that was just appended to the log: it is held
// back, unless the channel was quiet for a window.
func (t *topic) hold(e *Entry) {
	w := t.window
	if w.shown < t.log.first { // the log began anew
		w.shown, w.seq = t.log.first, t.log.seqBefore(t.log.first)
		w.forget()
	}
	if w.closed || !w.open {
		w.shown, w.seq = t.log.next(), e.seq
		if !w.closed {
			t.openWindow()
		}
		return
	}
	w.current++
	w.bytes += e.size()
	if key := memberAt(e.Encoded.JSON(), w.path); key != nil {
		if older := w.newest[string(key)]; older != nil {
			older.newer = e
			w.current--
			if h := t.hub.hooks.Conflated; h != nil {
				h()
			}
		}
		w.newest[string(key)] = e
	}
	if !t.policy.History() && t.log.next()-w.shown > int64(2*w.current) {
		t.compact()
	}
	if t.overfull() || t.urgent(e) {
		t.show()
	}
}

// overfull tells whether to show before the window's end what it holds: it may
// take neither a large part of the log, which would evict what nobody has seen,
// nor make connections that were up to date lag by more than they may.
func (t *topic) overfull() bool {
	w := t.window
	return t.policy.History() && t.log.next()-w.shown >= int64(t.logCap()/2) || w.bytes > maxLogBytes/4 ||
		t.policy.OnFull != CatchUp && w.current >= t.policy.BufferSize
}

// urgent tells whether an event could become too old while it is held back.
func (t *topic) urgent(e *Entry) bool {
	if e.expires == 0 {
		return false
	}
	now := t.hub.now()
	return !e.expired(now) && e.expired(now.Add(t.window.length))
}

func (t *topic) openWindow() {
	w := t.window
	w.open = true
	if w.timer == nil {
		w.timer = time.AfterFunc(w.length, t.windowEnds)
	} else {
		w.timer.Reset(w.length)
	}
}

func (t *topic) windowEnds() {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.window
	if w.closed {
		return
	}
	if !t.holding() {
		w.open = false
		w.newest = make(map[string]*Entry) // without the room for what is over
		return
	}
	t.show()
	t.openWindow()
	t.wakers.wake()
}

// show lets subscriptions see all that is held back.
func (t *topic) show() {
	w := t.window
	from := t.visible()
	if !t.policy.History() {
		t.compact()
	}
	// From now on sequence numbers count what is given, so that a lag and the
	// count of a gap do as well.
	for i := from; i < t.log.next(); i++ {
		e := t.log.at(i)
		if e.Gap == nil && e.newer == nil {
			w.seq++
		}
		e.seq = w.seq
	}
	w.shown = t.log.next()
	w.forget()
	for _, s := range t.subs {
		if s.stage == following && s.index > from { // began with an event that was held back
			s.seq = t.log.seqBefore(s.index)
		}
	}
}

func (w *window) forget() {
	clear(w.newest)
	w.current, w.bytes = 0, 0
}

// compact removes from the log what is held back and superseded. Only where
// there is no history: a log that joins a stream needs each position.
func (t *topic) compact() {
	l, from := &t.log, t.visible()-t.log.first
	if t.window.ending > 0 {
		for _, s := range t.subs {
			t.moveUp(s)
		}
	}
	kept := l.entries[:from]
	for _, e := range l.entries[from:] {
		if e.newer == nil {
			kept = append(kept, e)
			continue
		}
		l.grow(-e.size())
		t.window.bytes -= e.size()
	}
	clear(l.entries[len(kept):])
	l.entries = kept
}

// moveUp has a subscription that reads what is held back keep its place among
// it, where compact is about to remove entries before that.
func (t *topic) moveUp(s *subscription) {
	removed := int64(0)
	for i := t.visible(); s.stage == following && i < s.index; i++ {
		if t.log.at(i).newer != nil {
			removed++
		}
	}
	s.index -= removed
}

// endWindow shows what is held back, and has nothing held back any more. Called
// with the lock held, when the topic has ended.
func (t *topic) endWindow() {
	w := t.window
	if w == nil {
		return
	}
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
	if t.holding() {
		t.show()
		t.wakers.wake()
	}
}

// memberAt returns the string, number or boolean at a path of names in object,
// as it is written, or nil where there is none. The object must be valid
// compact JSON. Of several members of one name the last counts.
func memberAt(object []byte, path [][]byte) []byte {
	value := object
	for _, want := range path {
		if len(value) == 0 || value[0] != '{' {
			return nil
		}
		if value = member(value, want); value == nil {
			return nil
		}
	}
	if len(value) == 0 || value[0] == '{' || value[0] == '[' || value[0] == 'n' {
		return nil
	}
	return value
}

func member(object, want []byte) (value []byte) {
	for i := 1; i < len(object) && object[i] == '"'; i++ { // i is at a name, and afterwards behind a comma
		start := i
		i = skipString(object, i)
		name := object[start+1 : i-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name = []byte(unquote(object[start:i]))
		}
		start = i + 1 // behind the colon
		i = skipValue(object, start)
		if bytes.Equal(name, want) {
			value = object[start:i]
		}
	}
	return value
}
