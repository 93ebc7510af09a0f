package webhook

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sony/gobreaker/v2"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.opentelemetry.io/otel/propagation"

	"realtime-gateway/pkg/retry"
)

const (
	// maxAttempts is how often one question is sent at most.
	maxAttempts = 3

	// tripAfter failed attempts in a row open the circuit, and after openFor
	// one question tries again. Ten is more than the attempts of three
	// questions, so that a few unlucky ones do not shut out the others.
	tripAfter = 10
	openFor   = 5 * time.Second
)

// attempts spreads the attempts of one question.
var attempts = retry.Policy{Initial: 100 * time.Millisecond, Max: time.Second}

// client sends questions. Safe for concurrent use.
type client struct {
	url     string
	shown   string // url without credentials and query, for logs
	timeout time.Duration
	http    *http.Client
	signer  *standardwebhooks.Webhook
	circuit *gobreaker.CircuitBreaker[answer]
}

// newClient makes a client of options that were checked.
func newClient(o Options) (*client, error) {
	signer, err := newSigner(o.Secret)
	if err != nil {
		return nil, &SettingError{"Secret", err}
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, &SettingError{"URL", errors.New("is not a URL")}
	}
	if o.Transport == nil {
		o.Transport = newTransport(o.Timeout)
	}
	c := &client{
		url:     o.URL,
		shown:   (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(),
		timeout: o.Timeout,
		signer:  signer,
		http: &http.Client{
			Transport: o.Transport,
			// Elsewhere nobody agreed to receive claims, or to decide.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.circuit = gobreaker.NewCircuitBreaker[answer](gobreaker.Settings{
		Timeout:     openFor,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= tripAfter },
		IsExcluded: func(err error) bool {
			var f *failure
			return errors.As(err, &f) && !f.counts
		},
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				o.Logger.Warn("webhook fails again and again, and is not asked for a while", slog.String("url", c.shown), slog.Duration("probe_in", openFor))
			case gobreaker.StateClosed:
				o.Logger.Info("webhook answers again", slog.String("url", c.shown))
			}
		},
	})
	return c, nil
}

func newTransport(timeout time.Duration) *http.Transport {
	return &http.Transport{
		// Without Proxy: a proxy that an environment variable names for other
		// traffic must not decide about rights.
		DialContext:            (&net.Dialer{Timeout: timeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    timeout,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: maxAnswer,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		// An HTTP/2 connection that died in silence carries all questions.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 3 * time.Second},
	}
}

// ask puts q to the application until it answers, or ctx ends, or trying again
// is of no use. The error is a *failure. sent tells how many attempts there were.
func (c *client) ask(ctx context.Context, q *Question) (a answer, sent int, err error) {
	body, err := q.body()
	if err != nil { // quotes the claims
		return answer{}, 0, &failure{result: ResultAnswer, text: "the claims are not JSON"}
	}
	// Standard Webhooks: "it remains the same no matter how many times a webhook
	// that has failed is retried".
	id := "msg_" + rand.Text()
	err = attempts.Do(ctx, func(ctx context.Context) error {
		var err error
		a, err = c.circuit.Execute(func() (answer, error) {
			sent++
			return c.attempt(ctx, id, body)
		})
		var f *failure
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &f): // of the circuit
			f = &failure{result: ResultCircuit, text: "it failed too often and is not asked for a while"}
		}
		if !f.again || sent == maxAttempts {
			return retry.Permanent(f)
		}
		return f
	}, nil)
	if err == nil {
		return a, sent, nil
	}
	var f *failure
	if !errors.As(err, &f) { // ctx ended before the first attempt
		f = ended(ctx)
	}
	return answer{}, sent, f
}

// attempt sends the question once. The error is a *failure.
func (c *client) attempt(ctx context.Context, id string, body []byte) (answer, error) {
	inTime, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	a, err := c.post(inTime, id, body)
	var f *failure
	switch {
	case err == nil:
		return a, nil
	case errors.As(err, &f):
		return answer{}, f
	case ctx.Err() != nil:
		return answer{}, ended(ctx)
	case inTime.Err() != nil:
		return answer{}, &failure{result: ResultTimeout, text: fmt.Sprintf("no answer within %v", c.timeout), again: true, counts: true}
	}
	// Without the URL that net/http puts before it, whose query may be secret.
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return answer{}, &failure{result: ResultNetwork, text: oneLine(err.Error()), again: true, counts: true}
}

// ended is the failure of a question whose own time is over. It does not
// speak against the application: it had less than a whole attempt.
func ended(ctx context.Context) *failure {
	if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
		return &failure{result: ResultAbandoned, text: cause.Error()}
	}
	return &failure{result: ResultTimeout, text: "no answer in time"}
}

// post makes the request and reads the answer.
func (c *client) post(ctx context.Context, id string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return answer{}, &failure{result: ResultNetwork, text: "cannot make a request of the URL"}
	}
	now := time.Now()
	signature, err := c.signer.Sign(id, now, body)
	if err != nil {
		return answer{}, &failure{result: ResultNetwork, text: "cannot sign the question"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "realtime-gateway")
	req.Header.Set(standardwebhooks.HeaderWebhookID, id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header))
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		// What little there is to read lets the connection be used again.
		_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
		return statusAnswer(resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, err
	}
	a, err := parseAnswer(text)
	if err != nil {
		return answer{}, &failure{result: ResultAnswer, text: "the answer " + err.Error(), counts: true}
	}
	return a, nil
}

// statusAnswer is what a status other than 200 says.
func statusAnswer(status int) (answer, error) {
	if status == http.StatusForbidden {
		return answer{}, nil
	}
	passes := status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
	return answer{}, &failure{
		result: ResultStatus,
		text:   fmt.Sprintf("status is %d, allowed are 200, and 403 for a denial", status),
		again:  passes,
		// The others tell that somebody is there and does not know this
		// question, perhaps for the channel that a user made up. That must not
		// open the circuit for all.
		counts: passes,
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }
