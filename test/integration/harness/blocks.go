package harness

import (
	"bytes"
	"io"
	"sync"
)

// blocks reads an event stream for the parser. It passes on whole blocks only,
// because the parser dispatches an event that was cut off in the middle, which
// a browser discards. On the way it notes what the parser does not tell:
// comments, retry fields and the bytes themselves. While paused it reads
// nothing, so that the sockets' buffers fill.
type blocks struct {
	body   io.Reader
	record *Record
	gate   *gate
	raw    *Log

	pending []byte // read but not yet passed on
	whole   int    // how much of pending ends with a blank line
	line    int    // where the unfinished line of pending begins
	err     error
}

func (b *blocks) Read(p []byte) (int, error) {
	for b.whole == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.gate.pass()
		buf := make([]byte, 32*1024)
		n, err := b.body.Read(buf)
		b.err = err
		_, _ = b.raw.Write(buf[:n])
		b.pending = append(b.pending, buf[:n]...)
		b.scan()
	}
	n := copy(p, b.pending[:b.whole])
	b.pending = b.pending[n:]
	b.whole -= n
	b.line -= n
	return n, nil
}

// scan goes on from the unfinished line. Lines end with a line feed here; a
// carriage return within a line is left for the parser to trip over.
func (b *blocks) scan() {
	for {
		end := bytes.IndexByte(b.pending[b.line:], '\n')
		if end < 0 {
			return
		}
		line := b.pending[b.line : b.line+end]
		b.line += end + 1
		switch {
		case len(line) == 0:
			b.whole = b.line
		case line[0] == ':':
			b.record.change(func() { b.record.comments++ })
		case bytes.HasPrefix(line, []byte("retry:")):
			value := string(bytes.TrimSpace(line[len("retry:"):]))
			b.record.change(func() { b.record.retries = append(b.record.retries, value) })
		}
	}
}

// gate holds a reader back while closed.
type gate struct {
	mu   sync.Mutex
	open *sync.Cond
	shut bool
}

func newGate() *gate {
	g := &gate{}
	g.open = sync.NewCond(&g.mu)
	return g
}

func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut {
		g.open.Wait()
	}
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	g.open.Broadcast()
}
