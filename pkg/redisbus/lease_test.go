package redisbus

import (
	"context"
	"testing"
	"time"
)

// The master that has the leases of the replicas is away, for good. Plain
// payloads of the others' channels are recorded all the same, by a replica that
// was there before and by one that starts now.
func TestClusterWithoutTheMasterOfTheLeases(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	dead := c.owner(slotOf("gw.replicas"))
	var channel string
	for _, n := range c.nodes {
		if n != dead {
			channel = c.channelAt(n)
		}
	}
	first := startClusterBus(t, c)
	url := c.url()
	dead.kill()
	at := c.owner(slotOf("gw:" + channel))
	recorded := func(payload string) {
		t.Helper()
		eventually(t, payload+" is recorded", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			// Again and again: nobody may listen yet.
			at.db.Publish(ctx, channel, payload)
			for _, m := range at.db.XRange(ctx, "gw:"+channel, "-", "+").Val() {
				if m.Values["d"] == payload {
					return true
				}
			}
			return false
		})
	}
	recorded("before the break")
	for _, n := range c.nodes {
		if n != dead {
			n.do("client", "kill", "type", "pubsub")
		}
	}
	recorded("after the break")
	first.stop()
	beginBusAt(t, url)
	recorded("by one that came later")
}
