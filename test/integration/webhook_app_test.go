package integration_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"realtime-gateway/test/integration/harness"
)

// webhookPolicies leave channels to the application, beside some that are not.
const webhookPolicies = `channels:
  - {pattern: "w:**", historySize: 1000, lastN: 1, subscribe: webhook, publish: webhook}
  - {pattern: "hist:**", historySize: 1000, subscribe: public}
`

var webhookSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("the application knows this one too"))

// application is the one that the gateways ask. A question without a right
// signature fails the test. What it answers is said for each channel.
type application struct {
	*httptest.Server

	mu      sync.Mutex
	replies map[string]reply
	asked   map[string][]question // by channel
}

// question is what a gateway asks.
type question struct {
	User    *string         `json:"user"`
	Channel string          `json:"channel"`
	Action  string          `json:"action"`
	Claims  json.RawMessage `json:"claims"`

	id   string
	body string
}

// reply is how the application behaves.
type reply func(w http.ResponseWriter, r *http.Request, q question)

func newApplication(t *testing.T) *application {
	t.Helper()
	a := &application{replies: make(map[string]reply), asked: make(map[string][]question)}
	a.Server = httptest.NewServer(a.handler(t))
	t.Cleanup(a.Close)
	return a
}

func (a *application) handler(t *testing.T) http.Handler {
	verifier, err := standardwebhooks.NewWebhook(webhookSecret)
	must(t, err)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the gateway has left
		}
		if err := verifier.Verify(body, r.Header); err != nil || r.Method != http.MethodPost {
			t.Errorf("a %s that is no question: %v: %s", r.Method, err, body)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		q := question{id: r.Header.Get(standardwebhooks.HeaderWebhookID), body: string(body)}
		if err := json.Unmarshal(body, &q); err != nil {
			t.Errorf("the question is not JSON: %v: %s", err, body)
		}
		a.mu.Lock()
		a.asked[q.Channel] = append(a.asked[q.Channel], q)
		answer := a.replies[q.Channel]
		a.mu.Unlock()
		if answer == nil {
			t.Errorf("asked about %s, which is nobody's business: %s", q.Channel, body)
			answer = denies(0, "")
		}
		answer(w, r, q)
	})
}

// answers sets the behaviour for a channel, from the next question on.
func (a *application) answers(ch string, r reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.replies[ch] = r
}

// about returns the questions about a channel so far.
func (a *application) about(ch string) []question {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.asked[ch])
	return a.asked[ch][:n:n]
}

// waitAsked waits until there were n questions about a channel.
func (a *application) waitAsked(t *testing.T, ch string, n int) {
	t.Helper()
	must(t, harness.Until("the application is asked", 2*harness.Deadline, func() error {
		if got := len(a.about(ch)); got < n {
			return fmt.Errorf("%d questions about %s, want %d", got, ch, n)
		}
		return nil
	}))
}

// setup has gateways ask the application.
func (a *application) setup(s setup) setup {
	if s.config == "" {
		s.config = webhookPolicies
	}
	s.flags = append([]string{"--webhook-url", a.URL}, s.flags...)
	s.env = append([]string{"GATEWAY_WEBHOOK_SECRET=" + webhookSecret}, s.env...)
	return s
}

// allows is good for so many seconds.
func allows(ttl float64) reply { return says(200, fmt.Sprintf(`{"allow":true,"ttl":%v}`, ttl)) }

// denies is good for so many seconds, too.
func denies(ttl float64, reason string) reply {
	return says(200, fmt.Sprintf(`{"allow":false,"ttl":%v,"reason":%q}`, ttl, reason))
}

func says(status int, body string) reply {
	return func(w http.ResponseWriter, _ *http.Request, _ question) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// hangs begins an answer and never ends it.
func hangs(body string) reply {
	return func(w http.ResponseWriter, r *http.Request, _ question) {
		if body != "" {
			_, _ = io.WriteString(w, body)
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
}

func hangsUp(http.ResponseWriter, *http.Request, question) { panic(http.ErrAbortHandler) }

// neverEnds answers with a text that would allow if it ended.
func neverEnds(w http.ResponseWriter, _ *http.Request, _ question) {
	_, err := io.WriteString(w, `{"allow":true,"more":"`)
	for err == nil {
		_, err = io.WriteString(w, strings.Repeat("more", 1000))
	}
}

// door is one way to a channel, which has an event with the number 1.
type door struct {
	name, action string
	knock        func(t *testing.T, base, ch, token string) answer
}

var doors = []door{
	{"stream", "subscribe", func(t *testing.T, base, ch, token string) answer {
		s := connect(t, base, harness.Subscribe{Channels: []string{ch}, Header: header(token)})
		if s.Status == http.StatusOK {
			wait(t, s, "the stream says something", func(v harness.View) bool { return v.Ended || len(v.Published(ch)) > 0 })
		}
		return answer{s.Status, s.Header, s.Problem + s.Raw.String()}
	}},
	{"poll", "subscribe", func(t *testing.T, base, ch, token string) answer {
		return ask(t, http.MethodGet, events(base, url.Values{"channel": {ch}, "mode": {"poll"}}), token, "")
	}},
	{"history", "subscribe", func(t *testing.T, base, ch, token string) answer {
		return ask(t, http.MethodGet, of(base, ch), token, "")
	}},
	{"publish", "publish", func(t *testing.T, base, ch, token string) answer {
		return ask(t, http.MethodPost, of(base, ch), token, harness.Counted(2))
	}},
}

// header holds a token, or nothing.
func header(token string) http.Header {
	if token == "" {
		return nil
	}
	return bearer(token)
}

// wantMoved checks that a result of questions was counted.
func wantMoved(t *testing.T, g *harness.Gateway, results ...string) {
	t.Helper()
	for _, result := range results {
		must(t, harness.Until("the metric moves", harness.Deadline, func() error {
			got, err := metric(g, `gateway_webhook_questions_total{result="`+result+`"}`)
			if err == nil && got == "0" {
				err = fmt.Errorf("no question with the result %s", result)
			}
			return err
		}))
	}
}

// listenAt has the application answer at another address, too.
func listenAt(t *testing.T, a *application, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	must(t, err)
	s := httptest.NewUnstartedServer(a.handler(t))
	must(t, s.Listener.Close())
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
}
