package load

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Commands that publish. {channel}, {payload} and {id} stand for the event's.
const (
	// FunctionCommand is the gateway's reliable way, with an event id.
	FunctionCommand = "FCALL gateway_publish 1 gw:{channel} {payload} EVENTID {id}"
	// PublishCommand is plain Redis Pub/Sub.
	PublishCommand = "PUBLISH {channel} {payload}"
)

// Publisher sends events to Redis on one connection, without waiting for the
// answer before it sends the next: a client library would be the slowest part.
// Only one goroutine may use it; Acked and Errors are safe for concurrent use.
type Publisher struct {
	ledger *Ledger
	size   int
	heads  [][]byte // per channel, the command up to the first thing that varies
	tail   []string // what follows, argument by argument

	conn    net.Conn
	out     *bufio.Writer
	payload []byte
	number  []byte

	acked  atomic.Uint64
	failed atomic.Uint64
	done   chan struct{} // closed when nothing reads answers any more
	mu     sync.Mutex
	first  error // guarded by mu
}

// NewPublisher connects to Redis at addr. Payloads have size bytes.
func NewPublisher(addr, command string, channels []string, size int, ledger *Ledger) (*Publisher, error) {
	args := strings.Fields(command)
	at := 0
	for at < len(args) && args[at] != "{payload}" && args[at] != "{id}" {
		at++
	}
	if at == len(args) {
		return nil, fmt.Errorf("the command %q has no {payload}", command)
	}
	p := &Publisher{ledger: ledger, size: size, tail: args[at:], done: make(chan struct{})}
	for _, channel := range channels {
		head := fmt.Appendf(nil, "*%d\r\n", len(args))
		for _, arg := range args[:at] {
			head = appendBulk(head, strings.ReplaceAll(arg, "{channel}", channel))
		}
		p.heads = append(p.heads, head)
	}
	var err error
	if p.conn, err = net.DialTimeout("tcp", addr, 5*time.Second); err != nil {
		return nil, fmt.Errorf("connect to redis: %w", err)
	}
	p.out = bufio.NewWriterSize(p.conn, 64<<10)
	go p.answers()
	return p, nil
}

func appendBulk[T string | []byte](dst []byte, arg T) []byte {
	dst = append(strconv.AppendInt(append(dst, '$'), int64(len(arg)), 10), "\r\n"...)
	return append(append(dst, arg...), "\r\n"...)
}

// Publish writes the channel's next event to the buffer.
func (p *Publisher) Publish(channel int) error {
	m := p.ledger.next(channel)
	b := append(p.out.AvailableBuffer(), p.heads[channel]...)
	for _, arg := range p.tail {
		switch arg {
		case "{payload}":
			p.payload = m.AppendPayload(p.payload[:0], p.size)
			b = appendBulk(b, p.payload)
		case "{id}":
			p.number = append(strconv.AppendUint(p.number[:0], m.Run, 36), '-')
			p.number = strconv.AppendUint(p.number, m.Seq, 36)
			b = appendBulk(b, p.number)
		default:
			b = appendBulk(b, arg)
		}
	}
	_, err := p.out.Write(b)
	return err
}

// Flush sends what is in the buffer.
func (p *Publisher) Flush() error { return p.out.Flush() }

// Acked is how many events Redis has answered for.
func (p *Publisher) Acked() uint64 { return p.acked.Load() }

// Errors is how many events Redis has refused, and what it said first. It says
// also why the connection was lost.
func (p *Publisher) Errors() (n uint64, first error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed.Load(), p.first
}

// Close ends the connection. Answers that have not come are given up.
func (p *Publisher) Close() error {
	err := p.conn.Close()
	<-p.done
	return err
}

func (p *Publisher) answers() {
	defer close(p.done)
	in := bufio.NewReaderSize(p.conn, 64<<10)
	for {
		refused, err := readAnswer(in)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				p.fail(fmt.Errorf("redis: %w", err))
			}
			return
		}
		if refused != nil {
			p.failed.Add(1)
			p.fail(refused)
		}
		p.acked.Add(1)
	}
}

func (p *Publisher) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first == nil {
		p.first = err
	}
}

// readAnswer reads one RESP2 answer, whose value nobody needs.
func readAnswer(in *bufio.Reader) (refused, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, fmt.Errorf("no answer of redis: %q", line)
	}
	kind, value := line[0], line[1:len(line)-2]
	switch kind {
	case '+', ':':
	case '-':
		refused = errors.New(string(value))
	case '$', '*':
		n, err := strconv.Atoi(string(value))
		if err != nil {
			return nil, fmt.Errorf("no answer of redis: %q", line)
		}
		if kind == '$' && n >= 0 {
			_, err = in.Discard(n + 2)
			return nil, err
		}
		for ; n > 0; n-- {
			if refused, err = readAnswer(in); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("no answer of redis: %q", line)
	}
	return refused, nil
}
