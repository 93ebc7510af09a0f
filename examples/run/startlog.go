package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
)

// startLog reads a gateway's log for where it listens, and passes on what is a
// warning or worse, until ctx ends: that its Redis goes away then is no news.
type startLog struct {
	ctx       context.Context
	out       io.Writer
	line      bytes.Buffer
	listening chan addresses
}

// addresses are those of a gateway.
type addresses struct{ Addr, Ops string }

func newStartLog(ctx context.Context, out io.Writer) *startLog {
	return &startLog{ctx: ctx, out: out, listening: make(chan addresses, 1)}
}

func (l *startLog) Write(p []byte) (int, error) {
	for _, b := range p {
		l.line.WriteByte(b)
		if b == '\n' {
			l.entry(l.line.Bytes())
			l.line.Reset()
		}
	}
	return len(p), nil
}

func (l *startLog) entry(line []byte) {
	var e struct {
		Level, Msg string
		addresses
	}
	if l.ctx.Err() != nil {
		return
	}
	if json.Unmarshal(line, &e) != nil || strings.HasPrefix(e.Level, "WARN") || strings.HasPrefix(e.Level, "ERROR") {
		_, _ = l.out.Write(line)
		return
	}
	if e.Msg == "gateway is listening" {
		select {
		case l.listening <- e.addresses:
		default:
		}
	}
}
