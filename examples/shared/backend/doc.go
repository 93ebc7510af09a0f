// Package backend is what the Go services of the examples share: publishing to
// Redis, signing tokens, and answering as JSON. It has nothing of the gateway.
package backend
