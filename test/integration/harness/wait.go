package harness

import (
	"fmt"
	"time"
)

// Until calls try until it returns nil, and after limit returns what is still
// wrong. It is for what can only be asked, not waited for.
func Until(what string, limit time.Duration, try func() error) error {
	end := time.Now().Add(limit)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: not within %v: %w", what, limit, err)
		}
		time.Sleep(pause)
	}
}

// Holds calls check for the whole duration and returns its first error. It is
// for what must not happen, where nothing announces that it will not.
func Holds(duration time.Duration, check func() error) error {
	end := time.Now().Add(duration)
	for {
		if err := check(); err != nil {
			return err
		}
		if time.Now().After(end) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
}
