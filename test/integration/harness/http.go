package harness

import "net/http"

// Client is for requests with an ordinary answer. It keeps no connection open,
// so that a restarted replica is never asked over a dead one, and decompresses
// nothing.
var Client = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	Timeout:   4 * Deadline,
}
