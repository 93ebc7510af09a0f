// Package load measures servers of event streams from outside: it opens many
// streams, publishes through Redis, checks every delivery for loss, repetition
// and order, and takes the time of each.
//
// Run is the whole of a measurement. It is made of a Client, which is one
// goroutine on an epoll set of its own however many streams there are, and a
// Publisher, which pipelines commands to Redis. Both share a Ledger of what was
// published and what has come. Memory and processor time of the processes that
// are measured come from /proc. All this is Linux only; elsewhere the package
// builds, and Run says that it cannot.
//
// Every event carries a Marker in its payload: its run, channel, number and the
// time of publishing. So nothing has to be known of a server but how to
// subscribe and how to publish, and one that changes payloads around the marker
// is measured like one that does not.
//
// Limits: one address, HTTP/1.1 without TLS, lines that end in LF or CRLF, and
// as many streams as the process may open descriptors.
package load
