//go:build unix

package main

import "syscall"

// openFiles returns how many files may be open at the same time, and how far
// the process could raise that. Both are 0 where the system does not tell.
func openFiles() (soft, hard uint64) {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0, 0
	}
	return uint64(l.Cur), uint64(l.Max)
}
