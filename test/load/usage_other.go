//go:build !linux

package load

import "errors"

// ReadUsage needs /proc, so here it fails.
func ReadUsage(int) (Usage, error) { return Usage{}, errors.ErrUnsupported }
