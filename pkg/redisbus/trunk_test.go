package redisbus

import (
	"errors"
	"fmt"
	"testing"
)

// Several links share the channels. What happens to one concerns its own.
func TestLinksShareTheChannels(t *testing.T) {
	t.Parallel()
	mini, client := miniRedis(t)
	b := startBus(t, mini, func(o *Options) { o.Links = 3 })
	of := make(map[*link][]string)
	var all, confirmed []string
	for i := range 30 {
		name := fmt.Sprintf("status:%d", i)
		all, confirmed = append(all, name), append(confirmed, "confirmed "+name)
		of[b.links.of(name)] = append(of[b.links.of(name)], name)
		b.Subscribe(name, true)
	}
	b.wait(confirmed...)
	if len(of) != 3 {
		t.Fatalf("%d links have channels, want 3", len(of))
	}
	if up, wanted := b.countLinks(); up != 4 || wanted != 4 { // and that of the recorder
		t.Errorf("%d of %d links are up", up, wanted)
	}
	heard := func(names []string, payload string) {
		t.Helper()
		var want []string
		for _, name := range names {
			client.Publish(t.Context(), name, payload)
			want = append(want, "announced "+name+" "+payload)
		}
		b.wait(want...)
	}
	heard(all, "1")
	cut := b.links[1]
	cut.drop <- errors.New("cut by the test")
	var again []string
	for _, name := range of[cut] {
		again = append(again, "deaf "+name, "confirmed "+name)
	}
	for _, note := range b.wait(again...) {
		t.Errorf("other channels were told %q", note)
	}
	heard(all, "2")
	for _, name := range all {
		b.Unsubscribe(name, true)
	}
	eventually(t, "nothing is subscribed", func() bool {
		names := mini.PubSubChannels("status:*")
		return len(names) == 0
	})
}
