// Package retry decides when to try again.
//
// A [Policy] says how long the waits are. They are exponential with full
// jitter: the n-th wait is drawn evenly from (0, cap], where cap doubles from
// Policy.Initial to Policy.Max. Full jitter, rather than a share around the
// cap, is what spreads a herd of replicas that all lost the same Redis at the
// same moment: no two instants in the range are likelier than others.
//
// There are two ways to use it:
//
//   - [Policy.Do] runs an operation until it succeeds.
//   - [Backoff] only computes waits, for loops that hold a long-lived
//     connection and decide themselves when it was healthy.
//
// Nothing here gives up by itself, after any time or number of attempts: an
// outage of a day is followed by a recovery, not by a process that has stopped
// trying. What ends a retry is success, an error marked by [Permanent], or the
// caller's context.
//
// The package reports by callback and never logs.
package retry
