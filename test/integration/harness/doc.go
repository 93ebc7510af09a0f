// Package harness runs the gateway as its users do: the built binary as
// separate processes beside a real Redis, looked at over HTTP and through
// Redis only. It imports nothing of the gateway, so that what it finds depends
// on the documented contract alone.
//
// Every process is started, signalled and awaited by its own handle. Waits
// have a generous deadline and end as soon as the thing happens.
package harness
