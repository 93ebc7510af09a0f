// Command bench measures the gateway against the plain server of
// test/load/baseline, on the machine at hand and in one sitting, and writes a
// report with a table and a plot. `make bench` builds both servers and runs it.
//
// Every measurement has fresh processes of its own: a Redis, one server, and
// this one, which makes the load. The two servers take turns, so that what else
// happens on the machine meets both. Each figure is the median of all rounds.
//
// It ends with an error if the gateway lost, repeated or disordered a single
// event: fast and wrong is no result.
package main
