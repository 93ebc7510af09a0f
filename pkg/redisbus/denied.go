package redisbus

import (
	"fmt"
	"slices"
	"strings"

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
