//go:build race

package channels

// quick is set where -race makes everything many times slower.
const quick = true
