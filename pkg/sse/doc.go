// Package sse is the wire format of the gateway, server-sent events as in the
// WHATWG HTML standard, section 9.2, and the connections that carry it.
//
// A [Handler] serves one subscriber as a stream ([Handler.Stream]) or as one
// answer ([Handler.Poll]). A connection holds positions in the hub's logs and
// no events: what is pending when it comes to write goes out in one write,
// most of it bytes that all connections share.
//
// Handlers are plain net/http. The package knows neither Redis, nor the
// router, nor other replicas.
package sse
