package channels

// GapReason says why events are missing.
type GapReason string

// The reasons of a Gap, a closed set.
const (
	GapTrimmed GapReason = "trimmed" // the stream no longer keeps them (historySize, or removed)
	GapExpired GapReason = "expired" // they are older than messageTTL, historyTTL or their own TTL
	GapLost    GapReason = "lost"    // Redis no longer knows the position to go on from
	GapDropped GapReason = "dropped" // the connection was too slow, and onFull dropped them
	GapCursor  GapReason = "cursor"  // the cursor is of a version that this replica cannot read
)

// Gap stands in a subscriber's sequence for events that it will not get.
type Gap struct {
	Channel string
	Reason  GapReason
	// From is the last position before the gap, To the last one inside it: the
	// next event, if any, comes after To. To is never before From; with GapLost
	// they can be the same, where Redis lost only what had been delivered.
	From, To Position
	// Count is how many events are missing, or 0 where that is not known.
	Count int64

	at Position // where the subscriber stands after it, in what Redis has
}

// join extends the gap by one that follows without an event between.
func (g *Gap) join(next *Gap) {
	if next.From.Less(g.From) {
		g.From = next.From
	}
	if g.To.Less(next.To) {
		g.To = next.To
	}
	if next.Reason == GapLost {
		// A stream that has lost its end looks like one that was trimmed, until
		// the loss is recorded.
		g.Reason = GapLost
	}
	if g.Count > 0 && next.Count > 0 {
		g.Count += next.Count
	} else {
		g.Count = 0
	}
}
