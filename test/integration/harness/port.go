package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports come from below the range the kernel takes outgoing connections' ports
// from, so that a server can be stopped and started on its port again.
const (
	firstPort = 20000
	lastPort  = 32000
)

// blockSize is how many ports a process takes at a time. The tests of several
// packages run side by side, and a port that one of them has given out and
// nobody listens on yet looks free to the others.
const blockSize = 200

var ports struct {
	sync.Mutex
	next, end int
	guards    []net.Listener // on each block's first port, held to the end of the process
}

// takeBlock makes the ports of a block that no other process has the next ones.
func takeBlock() error {
	const blocks = (lastPort - firstPort) / blockSize
	for _, n := range rand.Perm(blocks) {
		begin := firstPort + n*blockSize
		if guard, err := net.Listen("tcp", local(begin)); err == nil {
			ports.guards = append(ports.guards, guard)
			ports.next, ports.end = begin+1, begin+blockSize
			return nil
		}
	}
	return fmt.Errorf("no free ports between %d and %d", firstPort, lastPort)
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// FreeAddr returns a loopback address that nobody listens on and that is not
// handed out twice.
func FreeAddr() (string, error) {
	l, err := freeListener()
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// freeListener listens where FreeAddr would say. Who is going to listen in this
// process takes it as it is: a process that is being started at the moment
// holds a copy of a closed listener until it has replaced itself.
func freeListener() (net.Listener, error) {
	ports.Lock()
	defer ports.Unlock()
	for {
		if ports.next == ports.end {
			if err := takeBlock(); err != nil {
				return nil, err
			}
		}
		l, err := net.Listen("tcp", local(ports.next))
		ports.next++
		if err == nil {
			return l, nil
		}
	}
}
