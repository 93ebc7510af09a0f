// Package channels is the domain of the gateway: channel names, patterns and
// policies, events and their positions, cursors, and the fan-out of a channel's
// events to the subscribers of this replica.
//
// # How an event goes through
//
// A [Hub] has one topic per channel with local subscribers. The topic keeps a
// log: a short, contiguous tail of the channel's stream, each event encoded
// once. A [Broker] announces new events to the hub; an announcement names its
// predecessor, so a topic knows at once when it missed something and reads it
// from the stream before it goes on. Subscribers hold positions in the logs and
// pull: publishing never waits for a subscriber, and a subscriber that is slow
// costs no memory beyond its position.
//
// # What is promised
//
// On a channel with history, a subscriber that starts at a position is given
// every later event exactly once and in order, or one [Gap] in place of those
// that are gone. On a channel without history events are given at most once.
// There is no order between different channels. Where a policy conflates, a later
// event of the same key may stand for those before it: see [Conflate].
//
// # Concurrency
//
// Hub is safe for concurrent use. A [Subscriber] belongs to one goroutine; the
// hub tells it through its [Waker] that there is something to fetch. The Broker
// calls the hub from one goroutine per connection to Redis and is never made
// to wait for subscribers or for input and output.
//
// The package knows neither Redis nor HTTP.
package channels
