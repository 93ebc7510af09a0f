package main

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// Why a stream ended by itself.
var (
	errEnded  = errors.New("the stream ended")
	errSilent = errors.New("the stream went silent, not even a heartbeat came")
)

// watchdog ends a stream from which nothing comes any more. A connection whose
// other side vanished without a word stays open for ever otherwise.
type watchdog struct {
	allowed atomic.Int64 // nanoseconds
	timer   *time.Timer
}

// newWatchdog calls cancel with errSilent after a silence of allowed.
func newWatchdog(allowed time.Duration, cancel context.CancelCauseFunc) *watchdog {
	w := &watchdog{}
	w.allowed.Store(int64(allowed))
	w.timer = time.AfterFunc(allowed, func() { cancel(errSilent) })
	return w
}

// allow changes how long a silence may be.
func (w *watchdog) allow(d time.Duration) {
	w.allowed.Store(int64(d))
	w.timer.Reset(d)
}

func (w *watchdog) stop() { w.timer.Stop() }

// over returns r such that every byte that comes is a sign of life.
func (w *watchdog) over(r io.Reader) io.Reader { return &watchedReader{w, r} }

type watchedReader struct {
	w *watchdog
	r io.Reader
}

// Read reports the regular end as errEnded. The parser would take io.EOF for
// the end of the last event, and print half of one, where HTML 9.2.6 says:
// "Once the end of the file is reached, any pending data must be discarded."
func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		r.w.timer.Reset(time.Duration(r.w.allowed.Load()))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errEnded
	}
	return n, err
}
