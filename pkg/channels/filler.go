package channels

import (
	"context"
	"math/rand/v2"
	"sort"
	"sync"
	"time"
)

// filler brings logs up to date, many in one round trip: after an outage every
// channel has to be read, and neither may Redis be stampeded nor a channel wait
// for minutes. Topics get their turn in the order in which their subscriptions
// were confirmed, which is hot ones first.
type filler struct {
	hub *Hub

	mu      sync.Mutex
	ctx     context.Context // nil until start
	queue   []*topic
	running int
	done    sync.WaitGroup
}

const (
	// fillers is how many round trips are under way at the same time.
	fillers = 4
	// fillBatch is how many topics share one.
	fillBatch = 128
	// fillEvents is about how many events one may bring, so that what is read
	// and not yet in a log stays bounded.
	fillEvents = 2048
	// maxFillDelay is the longest pause after a failure.
	maxFillDelay = 2 * time.Second
	// announceGrace is how long what was read may still be on its way as an
	// announcement.
	announceGrace = 10 * time.Millisecond
	// quietFailures is how many failures in a row are not worth a line of log.
	quietFailures = 4
)

func (f *filler) start(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ctx = ctx
	f.runLocked()
}

// add queues a topic, and reports whether it will be filled: after the
// context's end none is.
func (f *filler) add(t *topic) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx != nil && f.ctx.Err() != nil {
		return false
	}
	f.queue = append(f.queue, t)
	f.runLocked()
	return true
}

func (f *filler) runLocked() {
	if f.ctx == nil || f.running >= fillers || len(f.queue) == 0 {
		return
	}
	f.running++
	f.done.Go(f.run)
}

func (f *filler) run() {
	for {
		f.mu.Lock()
		n := min(len(f.queue), fillBatch)
		if n == 0 || f.ctx.Err() != nil {
			f.running--
			f.mu.Unlock()
			return
		}
		batch := make([]*fill, n)
		for i, t := range f.queue[:n] {
			batch[i] = &fill{topic: t}
		}
		clear(f.queue[:n])
		if f.queue = f.queue[n:]; len(f.queue) == 0 {
			f.queue = nil
		}
		ctx := f.ctx
		f.mu.Unlock()
		for len(batch) > 0 {
			batch = f.round(ctx, batch)
			f.hub.relieve()
		}
	}
}

func (f *filler) wait() { f.done.Wait() }

// round asks once about each topic, and returns those that need more.
func (f *filler) round(ctx context.Context, batch []*fill) (again []*fill) {
	var opening, reading []*fill
	for _, one := range batch {
		switch {
		case !one.begin():
		case one.open:
			opening = append(opening, one)
		default:
			reading = append(reading, one)
		}
	}
	finish := func(one *fill) {
		if !one.end() {
			again = append(again, one)
		}
	}
	if len(opening) > 0 {
		for i, top := range f.hub.broker.Open(ctx, namesOf(opening)) {
			if top.Err != nil {
				f.failed(opening[i], "open", top.Err)
				continue
			}
			opening[i].opened(top.Position)
			finish(opening[i])
		}
	}
	reading = f.marked(ctx, reading)
	if len(reading) == 0 {
		return again
	}
	var unsettled, forked []*fill
	take := func(one *fill, tail Tail) {
		switch {
		case tail.Err != nil:
			f.failed(one, "read history", tail.Err)
		case one.read(tail.Events):
			finish(one)
		case one.forked:
			forked = append(forked, one)
		case one.empty > 0:
			unsettled = append(unsettled, one)
		default:
			again = append(again, one)
		}
	}
	doubts := make(map[*fill]Tail)
	for i, tail := range f.hub.broker.Tails(ctx, tailRequests(reading)) {
		switch one := reading[i]; one.trust(tail.Events) {
		case trusted:
			take(one, tail)
		case tooEarly:
			one.topic.mu.Lock()
			f.later(one, announceGrace)
			one.topic.mu.Unlock()
		case doubted:
			doubts[one] = tail
		}
	}
	if len(doubts) > 0 {
		// After the reading, so that nothing that was read can be younger.
		err := f.hub.broker.Verify(ctx)
		for one, tail := range doubts {
			if tail.Err == nil {
				tail.Err = err
			}
			take(one, tail)
		}
	}
	var tops []Top
	if len(unsettled) > 0 {
		tops = f.hub.broker.Tops(ctx, namesOf(unsettled))
	}
	for i, top := range tops {
		one := unsettled[i]
		switch {
		case top.Err != nil:
			f.failed(one, "read the last position", top.Err)
		case one.topped(top.Position):
			finish(one)
		case one.forked:
			forked = append(forked, one)
		default:
			again = append(again, one)
		}
	}
	for _, one := range forked {
		place, err := f.fork(ctx, one.topic)
		if err != nil {
			f.failed(one, "find where the stream has another history", err)
			continue
		}
		one.forkedAt(place)
		again = append(again, one)
	}
	return again
}

// fork finds the last place that the stream and the log have in common: what a
// stream has lost of a log is its end.
func (f *filler) fork(ctx context.Context, t *topic) (Position, error) {
	t.mu.Lock()
	start, events := t.log.start, t.log.events()
	t.mu.Unlock()
	var failed error
	lost := func(e *Entry) bool {
		tail := f.hub.broker.Tails(ctx, []TailRequest{{Channel: t.channel, From: e.Position, Limit: 1}})[0]
		if tail.Err != nil {
			failed = tail.Err
		}
		return len(tail.Events) == 0 || tail.Events[0].Position != e.Position || tail.Events[0].Prev != e.prev
	}
	// From the end in growing steps, as mostly little is lost, and then between
	// the last two.
	end, step := len(events), 1
	for ; failed == nil && end > 0 && lost(events[max(end-step, 0)]); step *= 2 {
		end = max(end-step, 0)
	}
	begin := max(end-step, 0)
	n := sort.Search(end-begin, func(i int) bool { return failed == nil && lost(events[begin+i]) })
	switch {
	case failed != nil:
		return Position{}, failed
	case begin+n == 0:
		return start, nil
	}
	return events[begin+n-1].Position, nil
}

// marked records what streams have lost, and returns the topics whose streams
// can be read now.
func (f *filler) marked(ctx context.Context, batch []*fill) []*fill {
	ready, losses := batch[:0], 0
	var example string
	for _, one := range batch {
		marked, err := one.markLost(ctx)
		if err != nil {
			f.failed(one, "record a loss", err)
			continue
		}
		if marked {
			losses, example = losses+1, one.topic.channel
		}
		ready = append(ready, one)
	}
	if losses > 0 {
		f.hub.log.Warn("redis has lost events that had been delivered; recorded, so that every client of these channels gets a gap", "channels", losses, "example", example)
	}
	return ready
}

// failed has a topic filled again, later.
func (f *filler) failed(one *fill, what string, err error) {
	t := one.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures++
	if t.failures == quietFailures {
		t.hub.failed(what, t.channel, err)
	}
	f.later(one, rand.N(min(maxFillDelay, 50*time.Millisecond<<min(t.failures, 10))))
}

// later has a topic filled again after a while. Called with the topic's lock
// held.
func (f *filler) later(one *fill, delay time.Duration) {
	t := one.topic
	t.dirty, t.unheard = true, t.unheard || one.unheard
	time.AfterFunc(delay, func() {
		if !f.add(t) {
			t.mu.Lock()
			t.filling = false
			t.mu.Unlock()
		}
	})
}

func namesOf(batch []*fill) []string {
	list := make([]string, len(batch))
	for i, one := range batch {
		list[i] = one.topic.channel
	}
	return list
}

func tailRequests(batch []*fill) []TailRequest {
	list := make([]TailRequest, len(batch))
	for i, one := range batch {
		one.limit = min(max(fillEvents/len(batch), 8), one.limit) + 1 // the log's end comes with them
		list[i] = TailRequest{Channel: one.topic.channel, From: one.after, Limit: one.limit}
	}
	return list
}
