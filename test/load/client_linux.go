package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// attempts is how often a stream is opened before it is given up; Drop begins
	// anew.
	attempts = 5
	// retryAfter is how long it waits before the next.
	retryAfter = 200 * time.Millisecond
)

// Client holds the streams. One goroutine on a thread of its own reads all of
// them; the methods ask it. Safe for concurrent use, but not after Close.
type Client struct {
	options ClientOptions
	request request
	ledger  *Ledger

	epoll, wake int
	commands    chan func()
	stopped     chan struct{}

	// How many streams are there yet, for who waits.
	streaming, failed, caughtUp atomic.Int64

	// Owned by the loop.
	streams []stream
	queue   []int32 // to be opened
	later   []retry // likewise, in the order of their time
	opening map[int32]int64
	current *stream // that is being read
	read    int64   // when
	credit  uint64  // for the ledger
	dropped int64   // when all were dropped
	buffer  []byte
	out     []byte
	tally   Tally
	closing bool
}

// stream is one subscriber over all its connections.
type stream struct {
	reader
	checker  checker
	fd       int32
	channel  int32
	state    streamState
	attempts uint8
	behind   bool   // since Drop
	target   uint64 // the event it has to see to be caught up
}

// retry is a stream that waits for its next attempt.
type retry struct {
	stream int32
	at     int64
}

type streamState uint8

const (
	stateClosed streamState = iota
	stateConnecting
	stateAsked
	stateStreaming
	stateFailed // given up
)

// NewClient starts a client without connections.
func NewClient(o ClientOptions, ledger *Ledger) (*Client, error) {
	r, err := newRequest(o)
	if err != nil {
		return nil, err
	}
	if o.InFlight == 0 {
		o.InFlight = 256
	}
	c := &Client{
		options: o, request: r, ledger: ledger,
		commands: make(chan func(), 16), stopped: make(chan struct{}),
		streams: make([]stream, o.Streams), opening: map[int32]int64{}, buffer: make([]byte, 256<<10),
	}
	c.tally.Latency, c.tally.Back = &Histogram{}, &Histogram{}
	for i := range c.streams {
		c.streams[i] = stream{fd: -1, channel: int32(i % len(o.Channels))}
	}
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make an epoll set: %w", err)
	}
	if c.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, errors.Join(fmt.Errorf("make an eventfd: %w", err), unix.Close(c.epoll))
	}
	if err := c.watch(unix.EPOLL_CTL_ADD, c.wake, unix.EPOLLIN, -1); err != nil {
		return nil, errors.Join(err, unix.Close(c.epoll), unix.Close(c.wake))
	}
	go c.loop()
	return c, nil
}

// Connect opens all streams and waits until each has its response.
func (c *Client) Connect(ctx context.Context) error {
	c.do(c.openAll)
	return c.await(ctx, "streams are open", &c.streaming)
}

// Drop cuts all streams at once and opens them again, each with the id of the
// last event it had.
func (c *Client) Drop() { c.do(c.dropAll) }

// AwaitCaughtUp waits until each stream has, after Drop, all that was published
// until its new response.
func (c *Client) AwaitCaughtUp(ctx context.Context) error {
	return c.await(ctx, "streams are caught up", &c.caughtUp)
}

// Tally returns what was counted so far.
func (c *Client) Tally() Tally {
	var t Tally
	c.do(func() {
		t = c.tally
		latency, back := *t.Latency, *t.Back
		t.Latency, t.Back = &latency, &back
		t.Streaming, t.Failed, t.CaughtUp = int(c.streaming.Load()), int(c.failed.Load()), int(c.caughtUp.Load())
		for i := range c.streams {
			s := &c.streams[i]
			t.Lost += s.checker.lost(c.ledger.sent[s.channel].Load())
		}
	})
	return t
}

// Close cuts all streams and ends the client.
func (c *Client) Close() {
	c.do(func() { c.closing = true })
	<-c.stopped
}

// do runs f in the loop and waits for it.
func (c *Client) do(f func()) {
	done := make(chan struct{})
	c.commands <- func() { f(); close(done) }
	_, _ = unix.Write(c.wake, binary.NativeEndian.AppendUint64(nil, 1))
	<-done
}

// await waits until all streams that were not given up are counted.
func (c *Client) await(ctx context.Context, what string, count *atomic.Int64) error {
	for {
		n, failed := int(count.Load()), int(c.failed.Load())
		if n+failed >= len(c.streams) {
			if failed > 0 {
				return fmt.Errorf("%d of %d streams failed: %w", failed, len(c.streams), c.Tally().Err)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d %s: %w (%v)", n, len(c.streams), what, context.Cause(ctx), c.Tally().Err)
		case <-time.After(time.Millisecond):
		}
	}
}

func (c *Client) loop() {
	// Its thread spends its life in system calls; to change it would only cost.
	runtime.LockOSThread()
	defer close(c.stopped)
	events := make([]unix.EpollEvent, 512)
	for !c.closing {
		c.openSome()
		timeout := 100
		if len(c.later) > 0 {
			timeout = 5
		}
		n, err := unix.EpollWait(c.epoll, events, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic(err) // the set is ours
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd < 0 {
				c.command()
				continue
			}
			c.ready(e.Fd, &c.streams[e.Fd])
		}
		c.ledger.settle(c.credit)
		c.credit = 0
		c.expire()
	}
	for i := range c.streams {
		if s := &c.streams[i]; s.fd >= 0 {
			// Many measurements in a row would fill the ports with TIME_WAIT.
			_ = unix.SetsockoptLinger(int(s.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			_ = unix.Close(int(s.fd))
		}
	}
	_ = unix.Close(c.epoll)
	_ = unix.Close(c.wake)
}

// command runs what do has left. Whoever finds its command taken already has
// woken the loop for nothing.
func (c *Client) command() {
	var wakes [8]byte
	_, _ = unix.Read(c.wake, wakes[:])
	for {
		select {
		case f := <-c.commands:
			f()
		default:
			return
		}
	}
}

func (c *Client) watch(op, fd int, events uint32, i int32) error {
	if err := unix.EpollCtl(c.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: i}); err != nil {
		return fmt.Errorf("watch a descriptor: %w", err)
	}
	return nil
}

func (c *Client) openAll() {
	c.queue, c.later = c.queue[:0], c.later[:0]
	for i := range c.streams {
		if c.streams[i].state == stateClosed {
			c.queue = append(c.queue, int32(i))
		}
	}
}

func (c *Client) dropAll() {
	c.dropped = c.ledger.now()
	c.caughtUp.Store(0)
	for i := range c.streams {
		if s := &c.streams[i]; s.state != stateFailed {
			c.close(int32(i), s)
			s.behind, s.attempts = true, 0
		}
	}
	c.openAll()
}

func (c *Client) openSome() {
	n, now := 0, c.ledger.now()
	for n < len(c.later) && c.later[n].at <= now {
		c.queue = append(c.queue, c.later[n].stream)
		n++
	}
	c.later = slices.Delete(c.later, 0, n)
	n = 0
	for n < len(c.queue) && len(c.opening) < c.options.InFlight {
		i := c.queue[n]
		n++
		if err := c.open(i, &c.streams[i]); err != nil {
			c.broken(i, &c.streams[i], err)
		}
	}
	c.queue = slices.Delete(c.queue, 0, n)
}

func (c *Client) open(i int32, s *stream) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	s.fd, s.state = int32(fd), stateConnecting
	c.opening[i] = c.ledger.now()
	addr := &unix.SockaddrInet4{Port: int(c.request.addr.Port()), Addr: c.request.addr.Addr().As4()}
	if err := unix.Connect(fd, addr); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect: %w", err)
	}
	return c.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLOUT, i)
}

// expire gives up connections that never got their response.
func (c *Client) expire() {
	if len(c.opening) == 0 {
		return
	}
	limit := c.ledger.now() - int64(openTimeout)
	for i, since := range c.opening {
		if since < limit {
			c.broken(i, &c.streams[i], fmt.Errorf("no response within %v", openTimeout))
		}
	}
}

func (c *Client) ready(i int32, s *stream) {
	var err error
	switch s.state {
	case stateClosed, stateFailed: // by what came before it in the same list of events
	case stateConnecting:
		err = c.ask(i, s)
	default:
		err = c.take(i, s)
	}
	if err != nil {
		c.broken(i, s, err)
	}
}

// ask sends the request on a connection that has been made, or not.
func (c *Client) ask(i int32, s *stream) error {
	if code, err := unix.GetsockoptInt(int(s.fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
		return fmt.Errorf("connect: %w", errors.Join(err, unix.Errno(code)))
	}
	c.out = c.request.append(c.out[:0], c.options.Channels[s.channel], s.lastID)
	if n, err := unix.Write(int(s.fd), c.out); err != nil || n < len(c.out) {
		return fmt.Errorf("wrote %d of %d bytes of a request: %w", n, len(c.out), err)
	}
	s.again()
	s.state = stateAsked
	return c.watch(unix.EPOLL_CTL_MOD, int(s.fd), unix.EPOLLIN, i)
}

// take reads what has come.
func (c *Client) take(i int32, s *stream) error {
	n, err := unix.Read(int(s.fd), c.buffer)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return errEnded
	}
	c.current, c.read = s, c.ledger.now()
	if s.state == stateAsked {
		err = s.feed(c.buffer[:n], (*clientSink)(c))
		if s.status == 0 {
			return err
		}
		if s.status != 200 {
			return fmt.Errorf("status %d: %.300q", s.status, c.buffer[:n])
		}
		delete(c.opening, i)
		s.state = stateStreaming
		c.streaming.Add(1)
		if s.behind && s.farewell == "" {
			s.target = c.ledger.sent[s.channel].Load()
			c.catch(s)
		}
		return err
	}
	return s.feed(c.buffer[:n], (*clientSink)(c))
}

// clientSink hides from the client's users what its reader calls.
type clientSink Client

func (k *clientSink) gap() { k.tally.Gaps++ }

func (k *clientSink) event(m Marker) {
	c, s := (*Client)(k), k.current
	if m.Run != c.ledger.run || m.Channel != int(s.channel) {
		c.tally.Foreign++
		return
	}
	v, skipped := s.checker.see(m.Seq)
	switch v {
	case repeated:
		c.tally.Repeated++
		return
	case late:
		c.tally.Disordered++
	case fresh:
		c.credit += 1 + skipped
	}
	c.tally.Delivered++
	c.tally.Latency.Record(time.Duration(c.read - m.Sent))
	if s.behind && s.state == stateStreaming {
		c.catch(s)
	}
}

// catch notes when a stream has again what it missed, as far as it ever gets
// it: what was skipped is lost, and counted as that.
func (c *Client) catch(s *stream) {
	if s.checker.last < s.target {
		return
	}
	s.behind = false
	c.caughtUp.Add(1)
	c.tally.Back.Record(time.Duration(c.ledger.now() - c.dropped))
}

func (c *Client) close(i int32, s *stream) {
	delete(c.opening, i)
	if s.state == stateStreaming {
		c.streaming.Add(-1)
	}
	if s.fd >= 0 {
		_ = unix.Close(int(s.fd))
	}
	s.fd, s.state = -1, stateClosed
}

// broken ends a connection that failed or was ended, and opens the stream again
// after a while, as an EventSource does.
func (c *Client) broken(i int32, s *stream, why error) {
	if s.farewell != "" {
		why = fmt.Errorf("the server said%s", s.farewell)
		s.farewell = ""
	}
	if c.tally.Err == nil {
		c.tally.Err = why
	}
	if s.state == stateStreaming {
		c.tally.Closed++
	}
	c.close(i, s)
	if s.attempts++; s.attempts < attempts {
		c.later = append(c.later, retry{i, c.ledger.now() + int64(retryAfter)})
		return
	}
	s.state = stateFailed
	c.failed.Add(1)
}
