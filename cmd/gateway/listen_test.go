package main

import (
	"net"
	"strings"
	"testing"

	"realtime-gateway/internal/config"
)

// A port that somebody else has names the setting, and what to do.
func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	_, err = listen(t.Context(), addr)
	if err == nil {
		t.Fatal("two listen on one port")
	}
	const want = ": another process has this port: end it, or choose another one, as in --ops-addr :8090"
	if got := listenError("--ops-addr", addr, err).Error(); got != "listen on --ops-addr "+addr+want {
		t.Errorf("the error is %q", got)
	}
}

// Replicas of one name are told apart all the same.
func TestReplicaName(t *testing.T) {
	cfg := &config.Config{ReplicaName: "rt-1"}
	one, two := replicaName(cfg, nil), replicaName(cfg, nil)
	if !strings.HasPrefix(one, "rt-1-") || len(one) != len("rt-1-")+6 || one == two {
		t.Errorf("the names are %s and %s", one, two)
	}
}
