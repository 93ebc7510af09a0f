package sse

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestPathLists(t *testing.T) {
	onEachPath(t, func(t *testing.T, path func(*Options)) {
		f := newFixture(t, path)
		holders := f.held()
		names := [][]string{{"a"}, {"a", "b"}, {"b", "x:1"}, {"c"}}
		var callers []*caller
		var list []*Holder
		for _, n := range names {
			c := f.dial("", n...)
			c.want(EventOpen)
			callers, list = append(callers, c), append(list, <-holders)
		}
		want := func(filter Filter, limit, total int, channels ...string) {
			t.Helper()
			got, n, err := f.handler.List(t.Context(), filter, limit)
			if err != nil || n != total || len(got) != min(limit, total) {
				t.Fatalf("listed are %+v, %d in all, %v; want %d", got, n, err, total)
			}
			if limit < total {
				return
			}
			var have []string
			for _, i := range got {
				have = append(have, fmt.Sprint(i.Channels))
				if len(i.Connection) != 26 || i.User != "alice" || time.Since(i.Since) > time.Minute || i.Path == "" {
					t.Errorf("listed is %+v", i)
				}
			}
			slices.Sort(have)
			if !slices.Equal(have, channels) {
				t.Errorf("listed are %q, want %q", have, channels)
			}
		}
		want(Filter{}, 10, 4, "[a b]", "[a]", "[b x:1]", "[c]")
		want(Filter{}, 2, 4)
		want(Filter{}, 0, 4)
		want(Filter{Channel: "b"}, 10, 2, "[a b]", "[b x:1]")
		want(Filter{Channel: "nobody:has"}, 10, 0)
		want(Filter{Holders: list[1:3]}, 10, 2, "[a b]", "[b x:1]")
		want(Filter{Holders: list[1:3], Channel: "x:1"}, 10, 1, "[b x:1]")
		want(Filter{Holders: []*Holder{}}, 10, 0)
		want(Filter{Holders: []*Holder{{User: "alice"}}}, 10, 0)

		list[1].Lose(pattern(t, "b"), "")
		callers[1].want(EventError)
		want(Filter{Channel: "b"}, 10, 1, "[b x:1]")
		want(Filter{Holders: list[1:2]}, 10, 1, "[a]")
		list[3].End(CloseRevoked, "")
		<-f.closed
		for f.handler.Connections() > 3 {
			runtime.Gosched() // the hook is told first
		}
		want(Filter{Holders: list[3:]}, 10, 0)

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := f.handler.List(gone, Filter{}, 10); err == nil {
			t.Error("who does not wait gets no error")
		}
	})
}
