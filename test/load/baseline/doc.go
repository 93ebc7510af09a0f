// Command baseline is what the gateway is compared with: the server of event
// streams that one writes in an afternoon, with net/http and go-redis. Each
// connection is a goroutine that waits on a Go channel of its own, writes one
// event and flushes it. Redis Pub/Sub brings the events.
//
// It has no tokens, no history, no ids and no heartbeats, and drops events for a
// client whose channel is full. So it does less for each event, not more.
package main
