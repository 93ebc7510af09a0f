// Package chaos proves the gateway's main promise from outside: on a channel
// with history a client gets every event exactly once and in stream order, or
// one gateway.gap that covers exactly what is missing, whatever happens to the
// replicas, to Redis and to the network between them.
//
// A run has rounds. In a round publishers number their events, clients read,
// are slow, leave and come back, and faults are played by a schedule that
// follows from the seed. Then everything is healed, the clients get time to
// reach the end, and prove compares what each of them saw with what the
// streams hold and what the publishers were acknowledged.
//
//	go test ./test/integration/chaos -run TestChaos -v -chaos.seed=7 -chaos.time=1m -chaos.topology=single
//	make chaos SEED=7 TIME=1h
//
// A seed gives the same faults at the same times, and clients that make the
// same choices; how processes interleave is the machine's.
//
// An event is known by its number and the time in its timestamp, which is its
// position's: a number that was published again because Redis lost it is
// another event.
package chaos
