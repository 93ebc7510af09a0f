package redisbus

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// isDenied tells whether the user of the connection lacks a right.
func isDenied(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	// Of commands in functions and scripts each version has words of its own.
	return redis.IsPermissionError(err) || strings.Contains(text, "The user executing the script can't") || strings.Contains(text, "ACL failure in script")
}

// explained says of an error about rights what they are needed for, which Redis
// does not, and where they are listed. Others it returns as they are.
func explained(err error, what string) error {
	if !isDenied(err) {
		return err
	}
	return fmt.Errorf("the user of the Redis URL lacks a right needed to %s, see docs/redis-acl.md: %w", what, err)
}

// isScriptDenied tells whether the user may not call, look for or load scripts
// at all. What a script does is another matter.
func isScriptDenied(err error) bool {
	return redis.IsPermissionError(err) && (strings.Contains(err.Error(), "run the 'evalsha") || strings.Contains(err.Error(), "run the 'script"))
}

// functionless remembers why functions cannot be called and scripts are, in
// their place. Where both are denied, the scripts' error alone would name a
// right that is not needed. Safe for concurrent use.
type functionless struct{ cause atomic.Pointer[error] }

// because notes why; nil if functions can be called.
func (f *functionless) because(err error) {
	switch {
	case err != nil:
		f.cause.Store(&err)
	case f.cause.Load() != nil:
		f.cause.Store(nil)
	}
}

// callable notes that functions may be called, if not that they are loaded.
func (f *functionless) callable() {
	if cause := f.cause.Load(); cause != nil && strings.Contains((*cause).Error(), "run the 'fcall") {
		f.cause.CompareAndSwap(cause, nil)
	}
}

func (f *functionless) is() bool { return f.cause.Load() != nil }

// denied returns the refusal where functions are denied, not unknown.
func (f *functionless) denied() error {
	if cause := f.cause.Load(); cause != nil && isDenied(*cause) {
		return *cause
	}
	return nil
}

// beside adds the refusal to an error that says that scripts are denied.
func (f *functionless) beside(err error) error {
	if cause := f.denied(); cause != nil {
		return fmt.Errorf("functions are denied (%w), and scripts too (%w)", cause, err)
	}
	return err
}

// explained is as the function, for the error of a call.
func (f *functionless) explained(err error, what string) error {
	if isScriptDenied(err) {
		err = f.beside(err)
	}
	return explained(err, what)
}

// unanswered lists a few of the names about which the server has not answered
// yet.
func (s *subscriptions) unanswered() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for n, st := range s.names {
		if st.busy && n != s.probe {
			list = append(list, n.text)
		}
	}
	if st := s.names[s.probe]; st != nil && st.busy {
		list = append(list, s.probe.text)
	}
	slices.Sort(list)
	if more := len(list) - 5; more > 0 {
		list = append(list[:5], fmt.Sprintf("%d more", more))
	}
	return strings.Join(list, ", ")
}
