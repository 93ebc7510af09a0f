package redisbus

import (
	"strings"
	"testing"
)

// A node of a Cluster that is named as if it were a server of its own is left
// alone: its library would announce where nobody listens.
func TestBusRefusesANodeOfAClusterAsSingle(t *testing.T) {
	t.Parallel()
	node := clusterNode(t)
	b := beginBusAt(t, "redis://"+node.addr)
	eventually(t, "it says so", func() bool {
		err := b.State()["redis library"]
		return err != nil && strings.Contains(err.Error(), "redis+cluster://")
	})
	if list := node.do("function", "list").([]any); len(list) != 0 {
		t.Errorf("loaded are %v", list)
	}
}
