package redisbus

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// startSentinels runs a master, a replica and three Sentinels.
func startSentinels(t *testing.T) (master, replica *redisServer, watchers []*redisServer) {
	t.Helper()
	master = startServer(t)
	host, port, _ := net.SplitHostPort(master.addr)
	replica = startServer(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	for range 3 {
		at := freePort(t)
		file := filepath.Join(t.TempDir(), "sentinel.conf")
		text := fmt.Sprintf("port %d\nsentinel monitor m %s %s 2\nsentinel down-after-milliseconds m 1000\nsentinel failover-timeout m 3000\n", at, host, port)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		watchers = append(watchers, runServer(t, at, file, "--sentinel"))
	}
	eventually(t, "the Sentinels know each other and the replica", func() bool {
		for _, w := range watchers {
			list := w.do("sentinel", "master", "m").([]any)
			got := make(map[any]any)
			for i := 0; i+1 < len(list); i += 2 {
				got[list[i]] = list[i+1]
			}
			if got["num-slaves"] != "1" || got["num-other-sentinels"] != "2" {
				return false
			}
		}
		info, _ := replica.db.Info(t.Context(), "replication").Result()
		return strings.Contains(info, "master_link_status:up")
	})
	return master, replica, watchers
}

func TestSentinelFailoverLeavesTheOldMasterAlive(t *testing.T) {
	t.Parallel()
	old, replica, watchers := startSentinels(t)
	var addrs []string
	for _, w := range watchers {
		addrs = append(addrs, w.addr)
	}
	b := startBusAt(t, "redis+sentinel://"+strings.Join(addrs, ",")+"/m", func(o *Options) { o.DeafAfter = 3 * time.Second })
	f := startTailing(t, b, "orders")
	b.publish(t, "orders", "0")
	f.wantAll(1)
	// The first Sentinel of the list does not learn of it for a while.
	watchers[0].freeze()
	defer watchers[0].thaw()
	eventually(t, "the failover begins", func() bool {
		return watchers[1].db.Do(t.Context(), "sentinel", "failover", "m").Err() == nil
	})
	eventually(t, "the replica is promoted", func() bool {
		// Its connections are cut when it is.
		role, err := replica.db.Do(t.Context(), "role").Slice()
		return err == nil && role[0] == "master"
	})
	begin := time.Now()
	eventually(t, "the links are at the new master", func() bool {
		_, port, _ := net.SplitHostPort(replica.addr)
		for _, l := range append(b.links, b.record.link) {
			l.mu.Lock()
			_, at, _ := net.SplitHostPort(l.addr)
			l.mu.Unlock()
			if at != port || !l.up.Load() {
				return false
			}
		}
		return true
	})
	t.Logf("the links are at the new master %v after its promotion", time.Since(begin))
	for i := range 10 {
		b.publish(t, "orders", strconv.Itoa(i+1))
	}
	f.wantAll(11)
	if old.do("ping") != "PONG" {
		t.Error("the old master is not alive")
	}
}
