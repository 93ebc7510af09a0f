package redisbus

import (
	"fmt"
	"reflect"
	"testing"
)

func TestParseNodes(t *testing.T) {
	for _, tt := range []struct {
		line string
		want []nodeLine
	}{
		{"a 10.0.0.1:6379@16379 myself,master - 0 1426238317239 4 connected 0-5460 7000 [93->-b] [77-<-c]",
			[]nodeLine{{id: "a", addr: "10.0.0.1:6379", myself: true, master: true, epoch: 4, slots: [][2]int{{0, 5460}, {7000, 7000}}, moving: []int{93, 77}}}},
		{"a 10.0.0.1:6379@16379,host-1,shard-id=x slave b 0 1 2 connected", []nodeLine{{id: "a", addr: "10.0.0.1:6379", epoch: 2}}},
		{"a 10.0.0.1:6379 master,fail - 1 2 3 disconnected 1", []nodeLine{{id: "a", addr: "10.0.0.1:6379", master: true, epoch: 3, slots: [][2]int{{1, 1}}}}}, // Redis 3
		{"a :7000@17000 myself,master - 0 0 0 connected", []nodeLine{{id: "a", addr: ":7000", myself: true, master: true}}},
		{"a fd00::1:7000@17000 master - 0 0 1 connected", []nodeLine{{id: "a", addr: "[fd00::1]:7000", master: true, epoch: 1}}},
		{"a :0@0 master,noaddr - 0 0 0 disconnected", nil},
		{"a 10.0.0.1:1@2 handshake - 0 0 0 connected", nil},
		{"", nil},
	} {
		got, err := parseNodes(tt.line + "\n")
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s\ngot  %+v, %v\nwant %+v", tt.line, got, err, tt.want)
		}
	}
	for _, line := range []string{
		"a", "a b master - 0 0 0 connected", "a h:1 master - 0 0 x connected", "a h:1 master - 0 0 1 connected 16384",
		"a h:1 master - 0 0 1 connected 5-4", "a h:1 master - 0 0 1 connected x", "a h:1 master - 0 0 1 connected [x->-b]", "a h:1 master - 0 0 -1 connected",
	} {
		if got, err := parseNodes(line); err == nil {
			t.Errorf("%s is read as %+v", line, got)
		}
	}
}

func FuzzParseNodes(f *testing.F) {
	f.Add("a 10.0.0.1:6379@16379 myself,master - 0 1 4 connected 0-5460 7000 [93->-b] [77-<-c]\nb :1@2 slave a 0 0 0 connected\n")
	f.Add("a fd00::1:7000@17000,,tls-port=0 master - 0 0 1 connected 16383")
	f.Fuzz(func(t *testing.T, text string) {
		nodes, err := parseNodes(text)
		if err != nil {
			return
		}
		for _, n := range nodes {
			for _, r := range n.slots {
				if r[0] < 0 || r[1] < r[0] || r[1] >= slotCount {
					t.Fatalf("slots %v", r)
				}
			}
		}
		newTopology([]clusterView{completed("h:1", nodes, nil)})
	})
}

func TestParseSlots(t *testing.T) {
	of := func(host any, port int64) any {
		return []any{[]any{int64(1), int64(5), []any{host, port, "id", []any{}}, []any{"replica", int64(1), "other"}}}
	}
	for _, tt := range []struct {
		answer any
		asked  string
		addr   string // empty: cannot be read
	}{
		{of("10.0.0.1", 7000), "h:1", "10.0.0.1:7000"},
		{of("node-1.example", 7000), "h:1", "node-1.example:7000"},
		{of("", 7000), "h:1", "h:7000"},
		{of("?", 7000), "h:1", "h:7000"},
		{of(nil, 7000), "h:1", "h:7000"},
		{of("10.0.0.1", 0), "h:1", "10.0.0.1:1"},
		{of("127.0.0.1", 7000), "h:1", "h:7000"},
		{of("127.0.0.1", 7000), "127.0.0.1:1", "127.0.0.1:7000"},
		{of("fd00::1", 7000), "h:1", "[fd00::1]:7000"},
		{"x", "h:1", ""},
		{[]any{"x"}, "h:1", ""},
		{[]any{[]any{int64(1), int64(16384), []any{"h", int64(1), "id"}}}, "h:1", ""},
		{[]any{[]any{int64(1), int64(2), []any{"h", int64(1)}}}, "h:1", ""},
	} {
		got, err := parseSlots(tt.answer, tt.asked)
		if tt.addr == "" {
			if err == nil {
				t.Errorf("%v is read as %+v", tt.answer, got)
			}
			continue
		}
		if want := (nodeLine{id: "id", master: true, addr: tt.addr, slots: [][2]int{{1, 5}}}); err != nil || !reflect.DeepEqual(got, []nodeLine{want}) {
			t.Errorf("%v\ngot  %+v, %v\nwant %+v", tt.answer, got, err, want)
		}
	}
}

func TestTopologyBelievesTheOwner(t *testing.T) {
	line := func(id string, myself bool, epoch uint64, from, to int, moving ...int) nodeLine {
		n := nodeLine{id: id, addr: id + ":1", myself: myself, master: true, epoch: epoch, moving: moving}
		if from <= to {
			n.slots = [][2]int{{from, to}}
		}
		return n
	}
	view := func(nodes ...nodeLine) clusterView { return clusterView{asked: nodes[0].addr, nodes: nodes} }
	for _, tt := range []struct {
		name  string
		views []clusterView
		want  string // owner of slot 5
	}{
		{"one word", []clusterView{view(line("a", true, 1, 0, 9))}, "a"},
		{"the newer own word", []clusterView{view(line("a", true, 1, 0, 9)), view(line("b", true, 2, 5, 9))}, "b"},
		{"own word before that of others", []clusterView{view(line("a", true, 1, 0, 9), line("b", false, 9, 5, 9)), view(line("b", true, 9, 6, 9))}, "a"},
		{"others where the owner is silent", []clusterView{view(line("a", true, 3, 0, 4), line("b", false, 2, 5, 9))}, "b"},
		{"nobody", []clusterView{view(line("a", true, 3, 0, 4))}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := newTopology(tt.views)
			owner := ""
			if m := got.owner[5]; m != nil {
				owner = m.id
			}
			if owner != tt.want {
				t.Errorf("owner is %q", owner)
			}
			if !got.same(newTopology(tt.views)) || got.same(nil) {
				t.Error("it is not the same as itself")
			}
		})
	}
	moving := newTopology([]clusterView{view(line("a", true, 1, 0, 9, 5))})
	if still := newTopology([]clusterView{view(line("a", true, 1, 0, 9))}); !moving.moving[5] || moving.same(still) {
		t.Error("a moving slot goes unnoticed")
	}
	ranges := newTopology([]clusterView{view(line("a", true, 1, 0, 9)), view(line("b", true, 1, 10, 11)), view(line("c", true, 1, 20, 20))}).ranges()
	if got := fmt.Sprint(ranges); got != "[{0 9 [{a a:1 map[]}]} {10 11 [{b b:1 map[]}]} {20 20 [{c c:1 map[]}]}]" {
		t.Errorf("ranges are %s", got)
	}
}
