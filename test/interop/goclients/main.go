// Command goclients lets public Go clients of Server-Sent Events subscribe, as
// it is told on standard input, and says on standard output what they heard.
// Both are JSON, one object a line. It ends with its input.
//
// Each client has a file, and is used there as docs/clients.md advises; or bare,
// which is with what it does by itself.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"sync"
)

// command opens a session, or closes it.
type command struct {
	ID     string      `json:"id"`
	Close  bool        `json:"close"`
	Client string      `json:"client"`
	URL    string      `json:"url"`
	Header http.Header `json:"header"`
	Tokens []string    `json:"tokens"`
	Bare   bool        `json:"bare"`
}

// report is something that happened in a session.
type report struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"` // event, error or stopped
	Event string `json:"event"`
	Last  string `json:"lastEventId"`
	Data  string `json:"data"`
	Text  string `json:"text"`
}

// listener is told what a client hears.
type listener interface {
	event(lastEventID, name, data string)
	// failed is for what the client gets over by itself.
	failed(error)
}

// clients subscribe until the context ends or they give up, which is when they return.
var clients = map[string]func(context.Context, command, listener) error{
	"r3labs":       r3labs,
	"go-sse":       goSSE,
	"launchdarkly": launchDarkly,
}

func main() {
	log.SetFlags(0)
	out := &output{to: json.NewEncoder(os.Stdout)}
	sessions := map[string]context.CancelFunc{}
	for in := json.NewDecoder(os.Stdin); ; {
		var c command
		if err := in.Decode(&c); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		if c.Close {
			sessions[c.ID]()
			continue
		}
		subscribe, known := clients[c.Client]
		if !known {
			log.Fatalf("there is no client %q", c.Client)
		}
		if c.Header == nil {
			c.Header = http.Header{}
		}
		ctx, cancel := context.WithCancel(context.Background())
		sessions[c.ID] = cancel
		go func() {
			stopped := report{ID: c.ID, Kind: "stopped"}
			if err := subscribe(ctx, c, session{c.ID, out}); err != nil {
				stopped.Text = err.Error()
			}
			out.write(stopped)
		}()
	}
}

// session is the listener of one.
type session struct {
	id  string
	out *output
}

func (s session) event(lastEventID, name, data string) {
	s.out.write(report{ID: s.id, Kind: "event", Event: name, Last: lastEventID, Data: data})
}

func (s session) failed(err error) {
	s.out.write(report{ID: s.id, Kind: "error", Text: err.Error()})
}

// output is where sessions write to, one line at a time.
type output struct {
	mu sync.Mutex
	to *json.Encoder
}

func (o *output) write(r report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.to.Encode(r); err != nil {
		log.Fatal(err)
	}
}

// maxEvent is the size in bytes of the largest event that is read: several
// times the gateway's max-payload, since JSON escapes what was plain text.
const maxEvent = 1 << 20

// permanent tells whether a status says that the same request is refused again.
func permanent(status int) bool { return status >= 400 && status < 500 }
