//go:build !linux

package main

import "syscall"

// tuneListener leaves the system's defaults: the options are Linux' own.
func tuneListener(_, _ string, _ syscall.RawConn) error { return nil }
