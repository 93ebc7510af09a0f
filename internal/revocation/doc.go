// Package revocation knows which rights were taken back, and takes them from
// the connections of this replica.
//
// What holds is in Redis, one hash per user. A replica reads it when the user
// comes, and remembers it as long as the user has connections, and a while
// longer. It hears of every revocation by every link to Redis, before anything
// that was published after it. A link that was away, or a check that finds
// announcements missing, has everything read again (Refresh) before anything
// more is delivered. So a replica that was cut off, stopped or not yet started
// obeys before it delivers, and a client that nobody can be sure of is refused
// for now.
//
// From a user to their connections it is one look-up, however many users there
// are.
//
// What a replica knows of its users and Redis has lost, as in a failover, it
// puts back. What no replica with a connection of the user remembers is lost
// with Redis' data.
package revocation
