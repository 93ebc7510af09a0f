// Package redisbus is everything the gateway does with Redis: it is the
// channels.Broker of the hub, and the [Publisher] that services import.
//
// A channel's history is a stream, its announcements come by Pub/Sub, and both
// are made in one atomic step by gateway.lua, which runs as a function library
// where Redis has functions and as scripts elsewhere. [Bus] loads it, keeps it
// loaded, reads streams, and owns the subscription connections; recorders turn
// payloads that came by plain PUBLISH into events with history. All names of
// keys and Pub/Sub channels are made in keys.go.
//
// Every connection trouble is retried without end, with backoff and jitter;
// it is logged once when Redis goes away and once when it is back.
package redisbus
