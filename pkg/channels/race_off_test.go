//go:build !race

package channels

const quick = false
