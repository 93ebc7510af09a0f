package load

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// ClientOptions say what streams a client opens.
type ClientOptions struct {
	// URL of a stream; {channel} stands for its channel's name. The host must be
	// an IPv4 address: who can measure a server by accident can also flood it.
	URL string
	// Token, if not empty, is sent as a bearer token.
	Token string
	// Channels are the names. Stream i subscribes to channel i modulo their
	// number.
	Channels []string
	Streams  int
	// InFlight is how many connections are being opened at a time. If zero, 256.
	InFlight int
}

// Tally is what a client has counted.
type Tally struct {
	Streaming int // connections with a response now
	Failed    int // streams that were given up
	Closed    int // responses that the server ended, or that broke; the streams came back
	CaughtUp  int // streams that had everything again after Drop

	Delivered  uint64 // events that had not come before
	Lost       uint64 // events that were published and have not come
	Repeated   uint64
	Disordered uint64 // events that came after a later one
	Foreign    uint64 // events of other measurements or channels
	Gaps       uint64 // how often the server said that events are missing

	Latency *Histogram // from publishing to reading
	Back    *Histogram // from Drop until a stream had everything again
	Err     error      // the first thing that went wrong with a connection
}

// request is the bytes of all requests but for what differs between them.
type request struct {
	addr netip.AddrPort
	// before and after the channel's name
	before, after string
}

func newRequest(o ClientOptions) (request, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return request{}, err
	}
	if u.Scheme != "http" {
		return request{}, fmt.Errorf("URL %q: only http is measured", o.URL)
	}
	addr, err := netip.ParseAddrPort(u.Host)
	if err != nil || !addr.Addr().Is4() {
		return request{}, fmt.Errorf("URL %q: the host must be an IPv4 address and a port", o.URL)
	}
	// Parsing escaped the braces.
	_, target, _ := strings.Cut(o.URL, "://"+u.Host)
	if target == "" {
		target = "/"
	}
	before, after, ok := strings.Cut(target, "{channel}")
	if !ok {
		return request{}, fmt.Errorf("URL %q: {channel} is missing", o.URL)
	}
	after += " HTTP/1.1\r\nHost: " + u.Host + "\r\nAccept: text/event-stream\r\n"
	if o.Token != "" {
		after += "Authorization: Bearer " + o.Token + "\r\n"
	}
	return request{addr, "GET " + before, after}, nil
}

// append appends one request to dst.
func (r request) append(dst []byte, channel string, lastID []byte) []byte {
	dst = append(append(append(dst, r.before...), channel...), r.after...)
	if len(lastID) > 0 {
		dst = append(append(append(dst, "Last-Event-ID: "...), lastID...), "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// openTimeout is how long a connection may take until the response's head.
const openTimeout = 20 * time.Second
