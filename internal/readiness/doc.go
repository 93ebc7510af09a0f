// Package readiness decides whether a replica is to get newcomers.
//
// A replica that cannot deliver is of no use to newcomers if another one can, and
// then it is not ready. But where Redis is away no replica can deliver. If all of
// them said so, a load balancer would have nobody left, cut the streams that are
// open or answer 503 by itself, on which an EventSource gives up for ever. So what
// is wrong with this replica alone makes it unready, and what is wrong with Redis
// leaves it ready, though degraded: it keeps its streams, and tells newcomers when
// to come back.
//
// The two are told apart by fresh connections. A Redis that takes one is there, and
// a replica that does not hear it is not ready within seconds. One that cannot be
// connected to is away. A replica whose network alone is cut off from Redis looks
// the same from inside, so it stays ready as well, for Options.Grace if there is
// one; each replica adds a time of its own, so that they do not leave together.
//
// A replica that has not been able to deliver since its start is not ready,
// whatever the reason: so a rollout that cannot reach Redis stops.
package readiness
