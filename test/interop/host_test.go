package interop_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// patience is how long a client may take for anything. Clients wait as they
// were told, up to 15 s after a refusal, some half as long again, and the
// machine may be busy.
const patience = 90 * time.Second

// host is a program with clients in it.
type host struct {
	command func() (*exec.Cmd, error)

	start sync.Once
	err   error // of the start
	cmd   *exec.Cmd
	in    io.WriteCloser
	read  chan struct{} // closed after the program's last word
	said  harness.Log   // on standard error

	mu       sync.Mutex
	sessions map[string]*session
}

var (
	goHost   = &host{command: func() (*exec.Cmd, error) { return exec.Command(goClients), nil }}
	nodeHost = &host{command: func() (*exec.Cmd, error) { return exec.Command("node", "host.mjs"), nil }}
	// The browser has a process of its own, so that the others do not end with it.
	browserHost = &host{command: func() (*exec.Cmd, error) {
		path, err := exec.LookPath("chromium")
		if err != nil {
			return nil, errors.New("chromium is missing, install it: apt-get install chromium")
		}
		cmd := exec.Command("node", "host.mjs")
		cmd.Env = []string{"CHROMIUM=" + path, "PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}
		return cmd, nil
	}}
)

// closeHosts ends the programs, which they do with their input.
func closeHosts() error {
	var errs []error
	for _, h := range []*host{goHost, nodeHost, browserHost} {
		if h.cmd == nil {
			continue
		}
		errs = append(errs, h.in.Close())
		select {
		case <-h.read:
		case <-time.After(2 * harness.Deadline):
			errs = append(errs, h.cmd.Process.Kill())
			<-h.read
		}
		if err := h.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w\n%s", h.cmd.Path, err, &h.said))
		}
	}
	return errors.Join(errs...)
}

func (h *host) run() {
	h.sessions = map[string]*session{}
	cmd, err := h.command()
	if err != nil {
		h.err = err
		return
	}
	cmd.Stderr = &h.said
	if cmd.Args[0] == "node" {
		cmd.Dir = "web"
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		h.err = err
		return
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.err = err
		return
	}
	if h.err = cmd.Start(); h.err != nil {
		return
	}
	h.cmd, h.in, h.read = cmd, in, make(chan struct{})
	go h.listen(out)
}

// report is what a program says of a session.
type report struct {
	ID          string `json:"id"`
	Kind        string `json:"kind"` // event, error or stopped
	Event       string `json:"event"`
	LastEventID string `json:"lastEventId"`
	Data        string `json:"data"`
	Text        string `json:"text"`
}

func (h *host) listen(out io.Reader) {
	defer close(h.read)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, s := range h.sessions {
				s.End(fmt.Errorf("its program ended: %s", &h.said))
			}
			return
		}
		var r report
		if err := json.Unmarshal(line, &r); err != nil {
			fmt.Fprintf(&h.said, "not a report: %s\n", line)
			continue
		}
		h.mu.Lock()
		s := h.sessions[r.ID]
		h.mu.Unlock()
		switch r.Kind {
		case "event":
			s.Hear(r.LastEventID, r.Event, r.Data)
		case "error":
			fmt.Fprintln(&s.errors, r.Text)
		case "stopped":
			s.End(errors.New(r.Text))
		}
	}
}

// spec says what a client subscribes to.
type spec struct {
	URL    string      `json:"url"`
	Header http.Header `json:"header,omitempty"` // of the Go clients
	// Tokens are sent as a header, each attempt with the next one; not by a browser.
	Tokens []string `json:"tokens,omitempty"`
	// Bare uses the client with what it does by itself.
	Bare  bool     `json:"bare"`
	Types []string `json:"types"` // the events that an EventSource listens to
	// Page is where a browser is, Session the token that the page makes a cookie,
	// and Renewed the one that it puts in its place when the stream has begun.
	Page            string `json:"page,omitempty"`
	Session         string `json:"session,omitempty"`
	Renewed         string `json:"renewed,omitempty"`
	WithCredentials bool   `json:"withCredentials,omitempty"`
}

// session is one client and what it heard. Its record has ended when the client
// has given up for good.
type session struct {
	harness.Record
	errors harness.Log // what the client got over by itself
}

// types are what the tests publish, and what the gateway says.
var types = []string{
	"count", "note", "message",
	"gateway.open", "gateway.gap", "gateway.close", "gateway.error", "gateway.heartbeat",
}

var (
	numberMu sync.Mutex
	number   int
)

// unique is a number that nobody else has.
func unique() string {
	numberMu.Lock()
	defer numberMu.Unlock()
	number++
	return strconv.Itoa(number)
}

// subscribe starts a session, which ends with the test.
func (c client) subscribe(t *testing.T, s spec) *session {
	t.Helper()
	h := c.host
	h.start.Do(h.run)
	if h.err != nil {
		t.Fatal(h.err)
	}
	if s.Types == nil {
		s.Types = types
	}
	if c.browser && s.Page == "" {
		s.Page, _, _ = strings.Cut(s.URL, "/v1/") // whatever it shows, it is of the gateway's origin
	}
	id, out := unique(), &session{}
	h.send(t, struct {
		ID     string `json:"id"`
		Client string `json:"client"`
		spec
	}{id, c.name, s}, func() { h.sessions[id] = out })
	t.Cleanup(func() {
		h.send(t, struct {
			ID    string `json:"id"`
			Close bool   `json:"close"`
		}{id, true}, func() {})
		if t.Failed() {
			t.Logf("%s heard %s\nand said: %s", c.name, out.Now(), &out.errors)
		}
	})
	return out
}

func (h *host) send(t *testing.T, command any, before func()) {
	t.Helper()
	line, err := json.Marshal(command)
	must(t, err)
	h.mu.Lock()
	defer h.mu.Unlock()
	before()
	if _, err := h.in.Write(append(line, '\n')); err != nil {
		t.Errorf("%v: %s", err, &h.said)
	}
}
