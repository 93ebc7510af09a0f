package redisbus

import (
	"sync"
	"time"
)

// logLimit lets one line per ten seconds through, and counts what it stands
// for: one publisher gone wrong must not fill the log.
type logLimit struct {
	mu    sync.Mutex
	last  time.Time
	count int
}

func (l *logLimit) allow(now time.Time) (count int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if now.Sub(l.last) < 10*time.Second {
		return 0, false
	}
	count, l.count, l.last = l.count, 0, now
	return count, true
}
