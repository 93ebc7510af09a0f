package chaos

import (
	"syscall"
	"time"

	"realtime-gateway/test/integration/harness"
)

// The faults that end a replica: replicaKilled lets nobody finish anything.
const (
	replicaKilled     = "replica killed"
	replicaTerminated = "replica terminated"
)

// replicaFaults are what happens to replicas in every topology.
func replicaFaults(replicas []*harness.Gateway) []fault {
	of := func(target int) *harness.Gateway { return replicas[target%len(replicas)] }
	return []fault{
		{name: replicaKilled, lane: replicaLane, longest: time.Second, begin: func(target int) (func() error, error) {
			g := of(target)
			return g.Start, g.Kill()
		}},
		{name: replicaTerminated, lane: replicaLane, longest: time.Second, begin: func(target int) (func() error, error) {
			g := of(target)
			_, err := g.Process().Terminate()
			return g.Start, err
		}},
		{name: "replica stopped", lane: replicaLane, longest: 3 * time.Second, begin: func(target int) (func() error, error) {
			p := of(target).Process()
			return func() error { return p.Signal(syscall.SIGCONT) }, p.Signal(syscall.SIGSTOP)
		}},
	}
}
