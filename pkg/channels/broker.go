package channels

import (
	"context"
	"time"
)

// Broker is where a channel's events come from and where its history is.
// Implementations are safe for concurrent use and serve one Receiver.
type Broker interface {
	// Subscribe asks for the channel's announcements; plain asks also for
	// payloads published without history, under the channel's bare name. It
	// never blocks: Receiver.Confirmed follows once the subscription stands,
	// after every reconnect anew, and also when it stood already.
	Subscribe(channel string, plain bool)
	// Unsubscribe takes Subscribe back, and never blocks.
	Unsubscribe(channel string, plain bool)
	// CheckChannel returns a *NameError for a name that the broker keeps for
	// itself.
	CheckChannel(channel string) error
	// Ready tells whether announcements are being received.
	Ready() bool
	// Verify is asked before what was read and never announced is delivered:
	// announcements were missed although nothing seemed wrong, so whatever else is
	// told by the same way may have been missed as well. It returns when that is
	// made up for.
	Verify(ctx context.Context) error

	// Open returns the channels' last positions, creating streams where there
	// are none, and renews their lives, in few round trips. It does not try
	// again. On a channel without history the position is zero.
	Open(ctx context.Context, channels []string) []Top
	// Renew is Open without creating streams: where there is none, the position
	// is zero.
	Renew(ctx context.Context, channels []string) []Top
	// Tops is Renew without writing anything.
	Tops(ctx context.Context, channels []string) []Top
	// Tails reads from many streams in few round trips. It does not try again.
	Tails(ctx context.Context, requests []TailRequest) []Tail
	// Read returns at most limit events after a position, oldest first. Fewer
	// than limit means that there were no more.
	Read(ctx context.Context, channel string, after Position, limit int) ([]Event, error)
	// Newest returns the newest limit events, oldest first.
	Newest(ctx context.Context, channel string, limit int) ([]Event, error)
	// MarkLost records in the stream that it has lost events which this replica
	// had received, once however many replicas do. It reports false where there
	// is nothing to record after all, or the stream can take no such record.
	// If younger is not zero, events up to lost.After that are younger than this
	// by Redis' clock may have followed the loss: it is recorded from before
	// them.
	MarkLost(ctx context.Context, channel string, lost Loss, younger time.Duration) (bool, error)
}

// Top is the answer about one channel to Broker.Open, Renew or Tops.
type Top struct {
	Position Position
	Err      error
}

// TailRequest asks for at most Limit events of a channel, oldest first, from a
// position on: an event at From itself comes as well.
type TailRequest struct {
	Channel string
	From    Position
	Limit   int
}

// Tail is the answer to one TailRequest.
type Tail struct {
	Events []Event
	Err    error
}

// Receiver is told what a Broker hears. Its methods never block.
type Receiver interface {
	// Confirmed says that from now on every announcement of the channel is
	// received. What was announced before may have been missed.
	Confirmed(channel string)
	// Announced hands over an event of a channel.
	Announced(channel string, e Event)
	// Unclear says that something was announced that could not be read.
	Unclear(channel string)
	// Deaf says that no announcement of these channels is received any more,
	// until Confirmed.
	Deaf(channels []string)
}

// Hooks are optional observers; nil fields are skipped. They are called on the
// path of events and must neither block nor call the hub.
type Hooks struct {
	EventIn   func()                           // an event entered a log
	Conflated func()                           // an event was superseded by a newer one of its key and window
	Gap       func(reason GapReason)           // a gap was given to one subscriber
	Missed    func()                           // announcements were missed, and are read from the stream
	Read      func(source ReplaySource)        // one page of a replay was served
	Lag       func(sincePublish time.Duration) // age of a live event when it entered the log
	Evicted   func(events int)                 // logs were shortened by so many events for Options.LogBytes
	// Dropped says that so many events will not be given to one subscriber.
	Dropped func(reason DropReason, events int)
	// FanOut says that a live event is about to be given to the channel's
	// subscriptions, of which there are so many. No event follows it on the
	// channel until it returns.
	FanOut func(channel string, e *Event, subscriptions int)
	// Replaying says that a page of a channel's history is read for subscribers.
	// What it returns is told of the end.
	Replaying func(channel string) (done func(events int, err error))
}

// DropReason says why an event is not given to a subscriber.
type DropReason string

// The reasons to drop events, a closed set.
const (
	DropFull    DropReason = "full"    // the connection lagged further behind than bufferSize
	DropExpired DropReason = "expired" // the event was too old
)

// ReplaySource says where a replay was served from.
type ReplaySource string

// The sources of a replay.
const (
	FromLog     ReplaySource = "log"     // memory
	FromHistory ReplaySource = "history" // Redis
)
