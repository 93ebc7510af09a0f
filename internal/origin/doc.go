// Package origin knows the origins of web pages, as RFC 6454 writes them, and
// lists of those that are allowed. It depends on the standard library only and
// is safe for concurrent use.
package origin
