package harness

import "syscall"

// diesWithParent keeps a test run that panics at its time limit from leaving
// servers behind.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
