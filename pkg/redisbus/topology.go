package redisbus

import (
	"fmt"
	"math/rand/v2"
	"net"

	"github.com/redis/go-redis/v9"
)

// topology is who owns which slot of a Cluster, at one moment. It does not
// change once made.
type topology struct {
	masters map[string]*master // by id; those without slots too
	owner   [slotCount]*master // nil where nobody owns the slot
	moving  map[int]bool       // slots being migrated
}

// master is a master of a Cluster.
type master struct {
	id, addr string
	slots    int
	answered bool // lately
}

// clusterView is how one node sees its cluster.
type clusterView struct {
	asked string
	nodes []nodeLine
}

// newTopology makes the truth of what nodes say. A node's word on itself
// counts, as others may learn of changes later; of several nodes that own a slot
// by their own word, that with the higher config epoch, which is how the nodes
// settle it among themselves. What no node that answers owns belongs to whom
// others name.
func newTopology(views []clusterView) *topology {
	t := &topology{masters: make(map[string]*master), moving: make(map[int]bool)}
	type claim struct {
		by    *master
		epoch uint64
		own   bool
	}
	var best [slotCount]claim
	for _, v := range views {
		for i := range v.nodes {
			n := &v.nodes[i]
			if !n.master {
				continue
			}
			m := t.masters[n.id]
			if m == nil {
				m = &master{id: n.id, addr: n.addr}
				t.masters[n.id] = m
			}
			if n.myself {
				m.answered = true
				m.addr = n.addr
				for _, slot := range n.moving {
					t.moving[slot] = true
				}
			}
			for _, r := range n.slots {
				for slot := r[0]; slot <= r[1]; slot++ {
					b := &best[slot]
					if b.by == nil || n.myself && !b.own || n.myself == b.own && n.epoch > b.epoch {
						*b = claim{m, n.epoch, n.myself}
					}
				}
			}
		}
	}
	for slot := range best {
		if m := best[slot].by; m != nil {
			t.owner[slot] = m
			m.slots++
		}
	}
	return t
}

// same tells whether nothing differs that anyone acts on.
func (t *topology) same(o *topology) bool {
	if o == nil || len(t.masters) != len(o.masters) || len(t.moving) != len(o.moving) {
		return false
	}
	for id, m := range t.masters {
		if other := o.masters[id]; other == nil || other.addr != m.addr {
			return false
		}
	}
	for slot := range t.moving {
		if !o.moving[slot] {
			return false
		}
	}
	for slot, m := range t.owner {
		if (m == nil) != (o.owner[slot] == nil) || m != nil && m.id != o.owner[slot].id {
			return false
		}
	}
	return true
}

// owns tells whether the slot is that master's.
func (t *topology) owns(id string, slot int) bool {
	return t.owner[slot] != nil && t.owner[slot].id == id
}

// any returns the address of a master that answers, one with slots where there
// is one.
func (t *topology) any() (addr string, ok bool) {
	var list, spare []string
	for _, m := range t.masters {
		switch {
		case !m.answered:
		case m.slots > 0:
			list = append(list, m.addr)
		default:
			spare = append(spare, m.addr)
		}
	}
	if len(list) == 0 {
		list = spare
	}
	if len(list) == 0 {
		return "", false
	}
	return list[rand.IntN(len(list))], true
}

// ranges is the topology as go-redis wants it.
func (t *topology) ranges() []redis.ClusterSlot {
	var list []redis.ClusterSlot
	for slot, m := range t.owner {
		if m == nil {
			continue
		}
		if slot > 0 && t.owner[slot-1] == m {
			list[len(list)-1].End = slot
			continue
		}
		list = append(list, redis.ClusterSlot{Start: slot, End: slot, Nodes: []redis.ClusterNode{{ID: m.id, Addr: m.addr}}})
	}
	return list
}

// completed returns a view with addresses under which clients reach the nodes:
// CLUSTER SLOTS knows better, but does not list masters without slots.
func completed(asked string, nodes, slots []nodeLine) clusterView {
	preferred := make(map[string]string)
	for _, n := range slots {
		preferred[n.id] = n.addr
	}
	if len(nodes) == 0 {
		nodes = slots // where CLUSTER NODES is not allowed
	}
	for i := range nodes {
		n := &nodes[i]
		if addr, ok := preferred[n.id]; ok {
			n.addr = addr
		} else if host, port, err := net.SplitHostPort(n.addr); err == nil {
			n.addr = reachable(host, port, asked)
		}
	}
	return clusterView{asked: asked, nodes: nodes}
}

// incomplete says that slots have no master, if so.
func (t *topology) incomplete() error {
	unowned := 0
	for _, m := range t.owner {
		if m == nil {
			unowned++
		}
	}
	if unowned == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d slots of the cluster have no master", unowned, slotCount)
}
