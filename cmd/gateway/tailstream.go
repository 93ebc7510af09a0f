package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/tmaxmax/go-sse"

	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/retry"
)

const (
	// firstSilence is how long a stream may be silent before gateway.open has
	// told its heartbeat.
	firstSilence = 30 * time.Second
	// missedHeartbeats make a stream a dead one. They are jittered by a fifth.
	missedHeartbeats = 3
	// maxEvent bounds one event: the largest payload, escaped throughout.
	maxEvent = 6*(16<<20) + 1<<20
	// maxTold bounds the delay that a gateway may ask for.
	maxTold = time.Hour
)

// tail is one run of "gateway tail".
type tail struct {
	url     string
	token   string
	cursor  string
	client  *http.Client
	out     io.Writer
	notice  io.Writer
	silence time.Duration // before gateway.open tells a better one
	backoff retry.Backoff
	wait    func(context.Context, time.Duration) error
	opened  func() // unless nil, called when a stream has begun
}

// refusal is an answer that will be the same next time.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

// outputError is a failure to print, after which there is no use in reading.
type outputError struct{ err error }

func (e *outputError) Error() string { return "write the event: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

// stream prints the events of one connection until it ends, and returns why,
// never nil, and the delay that the gateway asked for, or 0.
func (t *tail) stream(ctx context.Context) (delay time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := newWatchdog(t.silence, cancel)
	defer watch.stop()
	body, err := t.connect(ctx)
	if err != nil {
		return 0, cause(ctx, err)
	}
	defer body.Close()
	for ev, err := range sse.Read(watch.over(body), &sse.ReadConfig{MaxEventSize: maxEvent}) {
		if err != nil {
			return 0, cause(ctx, err)
		}
		done, delay, err := t.handle(ev, watch)
		if done || err != nil {
			return delay, err
		}
	}
	return 0, errEnded
}

// cause is why ctx ended, if it did, and otherwise err.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

func (t *tail) connect(ctx context.Context) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return nil, &refusal{"the URL is wrong"}
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cache-Control", "no-store")
	if t.cursor != "" {
		req.Header.Set("Last-Event-ID", t.cursor)
	}
	if t.token != "" {
		req.Header.Set("Authorization", "Bearer "+t.token)
	}
	resp, err := t.client.Do(req)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err // without the URL, which says nothing new
		}
		return nil, err
	}
	if err := checkResponse(resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp.Body, nil
}

// checkResponse sorts answers that are no stream into permanent ones
// (*refusal) and such that a proxy gives while the gateway is away.
func checkResponse(resp *http.Response) error {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode >= 500:
		return errors.New(resp.Status)
	case resp.StatusCode == http.StatusOK && kind == "text/event-stream":
		return nil
	case resp.StatusCode == http.StatusOK:
		return &refusal{fmt.Sprintf("the answer is %q and no event stream: is this a gateway?", kind)}
	}
	text := resp.Status
	if kind == "application/problem+json" { // RFC 9457
		var problem struct{ Title, Detail string }
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if json.Unmarshal(body, &problem) == nil {
			if detail := cmp.Or(problem.Detail, problem.Title); detail != "" {
				text += ": " + detail
			}
		}
	}
	return &refusal{text}
}

// The gateway's own events.
const (
	eventOpen      = channels.ReservedPrefix + "open"
	eventGap       = channels.ReservedPrefix + "gap"
	eventClose     = channels.ReservedPrefix + "close"
	eventError     = channels.ReservedPrefix + "error"
	eventHeartbeat = channels.ReservedPrefix + "heartbeat"
)

// handle prints one event or notice. done ends the stream; err is why.
func (t *tail) handle(ev sse.Event, watch *watchdog) (done bool, delay time.Duration, err error) {
	switch ev.Type {
	case eventOpen:
		var open struct {
			Connection string
			Heartbeat  int64
		}
		_ = json.Unmarshal([]byte(ev.Data), &open)
		if beat := millis(open.Heartbeat); beat > 0 {
			watch.allow(missedHeartbeats * beat)
		}
		t.noticef("connected, connection %s", cmp.Or(open.Connection, "unknown"))
		if t.opened != nil {
			t.opened()
		}
	case eventClose:
		end := struct {
			Reason    string
			Reconnect bool
			Retry     int64
		}{Reconnect: true}
		_ = json.Unmarshal([]byte(ev.Data), &end)
		t.noticef("close: %s", ev.Data)
		if !end.Reconnect {
			return true, 0, &refusal{"the gateway closed the stream for good: " + end.Reason}
		}
		return true, millis(end.Retry), fmt.Errorf("the gateway closed the stream: %s", end.Reason)
	case eventGap, eventError:
		t.noticef("%s: %s", ev.Type[len(channels.ReservedPrefix):], ev.Data)
	case eventHeartbeat:
	default:
		if err := t.print(ev); err != nil {
			return true, 0, &outputError{err}
		}
		// Only now: a gateway that greets and hangs up has proved nothing.
		t.backoff.Reset()
	}
	// The position moves after the event is out, so that none is lost.
	t.cursor = cmp.Or(ev.LastEventID, t.cursor)
	return false, 0, nil
}

// millis is a delay that a gateway tells, or 0 where it makes no sense.
func millis(n int64) time.Duration {
	if n <= 0 || n > maxTold.Milliseconds() {
		return 0
	}
	return time.Duration(n) * time.Millisecond
}

// line is what is printed of an event.
type line struct {
	ID    string          `json:"id"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
}

func (t *tail) print(ev sse.Event) error {
	data := json.RawMessage(ev.Data)
	if !json.Valid(data) {
		data, _ = json.Marshal(ev.Data)
	}
	enc := json.NewEncoder(t.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(line{ID: ev.LastEventID, Event: cmp.Or(ev.Type, "message"), Data: data})
}
