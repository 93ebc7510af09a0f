package sse

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller tells of what happens to many sockets, with one descriptor that the
// runtime's own poller watches: no thread waits for it.
type poller struct {
	file *os.File
	raw  syscall.RawConn
	room []unix.EpollEvent
}

// happening is what happened to one socket.
type happening struct {
	tag    uint64 // as given to add
	events uint32 // of epoll(7)
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("sse: epoll_create: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or the runtime would not watch it
		unix.Close(fd)
		return nil, fmt.Errorf("sse: epoll: %w", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), room: make([]unix.EpollEvent, 256)}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, fmt.Errorf("sse: epoll: %w", err)
	}
	return p, nil
}

// add watches a socket, edge by edge, until it is closed.
func (p *poller) add(fd int, tag uint64) error {
	e := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(uint32(tag)), Pad: int32(uint32(tag >> 32)),
	}
	var err error
	if closed := p.raw.Control(func(epoll uintptr) {
		err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, fd, &e)
	}); closed != nil {
		return closed
	}
	return err
}

// wait appends to list what happened since, at least one thing. The error
// means that the poller is closed.
func (p *poller) wait(list []happening) ([]happening, error) {
	var failed error
	err := p.raw.Read(func(epoll uintptr) bool {
		n, err := unix.EpollWait(int(epoll), p.room, 0)
		if err == unix.EINTR {
			err = nil
		}
		for _, e := range p.room[:max(n, 0)] {
			list = append(list, happening{tag: uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32, events: e.Events})
		}
		failed = err
		return n > 0 || err != nil
	})
	if err == nil {
		err = failed
	}
	return list, err
}

func (p *poller) close() error { return p.file.Close() }
