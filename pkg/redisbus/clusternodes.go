package redisbus

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// nodeLine is one line of CLUSTER NODES, or what CLUSTER SLOTS says of a node.
type nodeLine struct {
	id     string
	addr   string // empty where the cluster does not know it
	myself bool   // the node that was asked
	master bool
	epoch  uint64
	slots  [][2]int // owned, first to last
	moving []int    // being migrated from or imported to this node; only of myself
}

// owns tells whether the slot is the node's.
func (n *nodeLine) owns(slot int) bool {
	return slices.ContainsFunc(n.slots, func(r [2]int) bool { return r[0] <= slot && slot <= r[1] })
}

// parseNodes reads CLUSTER NODES. Nodes that are still being met, or whose
// address is not known, are left out.
func parseNodes(text string) ([]nodeLine, error) {
	var nodes []nodeLine
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		n, known, err := parseNode(line)
		if err != nil {
			return nil, err
		}
		if known {
			nodes = append(nodes, n)
		}
	}
	return nodes, nil
}

// parseNode reads a line:
//
//	<id> <ip:port@cport[,hostname[,…]]> <flags> <master> <ping-sent> <pong-recv> <config-epoch> <link-state> <slot> <slot> …
//
// where a slot is a number, a range, [slot->-id] while it is migrated from this
// node, or [slot-<-id] while it is imported.
func parseNode(line string) (n nodeLine, known bool, err error) {
	f := strings.Fields(line)
	if len(f) < 8 {
		return n, false, fmt.Errorf("line of CLUSTER NODES with %d fields", len(f))
	}
	n.id = f[0]
	addr, _, _ := strings.Cut(f[1], ",")
	addr, _, _ = strings.Cut(addr, "@")
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		return n, false, fmt.Errorf("address without a port in CLUSTER NODES")
	}
	// An IPv6 address stands there without brackets.
	n.addr = net.JoinHostPort(strings.Trim(addr[:i], "[]"), addr[i+1:])
	known = true
	for flag := range strings.SplitSeq(f[2], ",") {
		switch flag {
		case "myself":
			n.myself = true
		case "master":
			n.master = true
		case "handshake", "noaddr":
			known = false
		}
	}
	if n.epoch, err = strconv.ParseUint(f[6], 10, 64); err != nil {
		return n, false, fmt.Errorf("config epoch in CLUSTER NODES: %w", err)
	}
	for _, s := range f[8:] {
		if s, ok := strings.CutPrefix(s, "["); ok {
			number, _, _ := strings.Cut(s, "-")
			slot, err := parseSlot(number)
			if err != nil {
				return n, false, err
			}
			n.moving = append(n.moving, slot)
			continue
		}
		first, last, isRange := strings.Cut(s, "-")
		if !isRange {
			last = first
		}
		from, err := parseSlot(first)
		if err != nil {
			return n, false, err
		}
		to, err := parseSlot(last)
		if err != nil {
			return n, false, err
		}
		if to < from {
			return n, false, fmt.Errorf("range of slots %d-%d in CLUSTER NODES", from, to)
		}
		n.slots = append(n.slots, [2]int{from, to})
	}
	return n, known, nil
}

func parseSlot(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n >= slotCount {
		return 0, fmt.Errorf("slot %.20q in CLUSTER NODES", s)
	}
	return int(n), nil
}

// parseSlots reads CLUSTER SLOTS: under which address clients are to reach each
// master, and what it owns. "An empty or unknown endpoint means: the one used to
// send the command" (documentation of CLUSTER SLOTS).
func parseSlots(answer any, asked string) ([]nodeLine, error) {
	ranges, ok := answer.([]any)
	if !ok {
		return nil, fmt.Errorf("answer of CLUSTER SLOTS is a %T", answer)
	}
	var nodes []nodeLine
	at := make(map[string]int)
	for _, r := range ranges {
		fields, _ := r.([]any)
		if len(fields) < 3 {
			return nil, fmt.Errorf("range in CLUSTER SLOTS with %d fields", len(fields))
		}
		first, ok1 := fields[0].(int64)
		last, ok2 := fields[1].(int64)
		master, _ := fields[2].([]any)
		if !ok1 || !ok2 || first < 0 || last < first || last >= slotCount || len(master) < 3 {
			return nil, fmt.Errorf("range in CLUSTER SLOTS cannot be read")
		}
		host, _ := master[0].(string) // may be nil
		port, _ := master[1].(int64)
		id, _ := master[2].(string)
		if id == "" {
			return nil, fmt.Errorf("node without an id in CLUSTER SLOTS")
		}
		i, ok := at[id]
		if !ok {
			i = len(nodes)
			at[id] = i
			nodes = append(nodes, nodeLine{id: id, master: true, addr: reachable(host, strconv.FormatInt(port, 10), asked)})
		}
		nodes[i].slots = append(nodes[i].slots, [2]int{int(first), int(last)})
	}
	return nodes, nil
}

// reachable completes an address that a node gave of itself or of another by
// that under which the node was asked.
func reachable(host, port, asked string) string {
	askedHost, askedPort, err := net.SplitHostPort(asked)
	if err != nil {
		return net.JoinHostPort(host, port)
	}
	// A loopback address is of use on the node's own machine only.
	if ip := net.ParseIP(host); host == "" || host == "?" || ip != nil && ip.IsLoopback() && !isLoopback(askedHost) {
		host = askedHost
	}
	if port == "0" || port == "" {
		port = askedPort // TLS alone is served, and older servers say 0 then
	}
	return net.JoinHostPort(host, port)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
