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

var ports = struct {
	sync.Mutex
	next int
}{next: firstPort + rand.IntN(lastPort-firstPort)}

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
	for range lastPort - firstPort {
		ports.next++
		if ports.next > lastPort {
			ports.next = firstPort
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports.next))
		l, err := net.Listen("tcp", addr)
		if err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no free port between %d and %d", firstPort, lastPort)
}
