package webhook

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// Defaults of Options.
const (
	DefaultTimeout     = 3 * time.Second
	DefaultAllowTTL    = time.Minute
	DefaultDenyTTL     = 5 * time.Second
	DefaultMaxAnswers  = 100_000
	DefaultMaxInFlight = 256
	DefaultMaxWaiting  = 10_000
)

// Options of an Authorizer. URL and Secret are needed.
type Options struct {
	// URL is the http or https address that is asked. User and password in it
	// are sent as basic authentication. Environment variables about proxies do
	// not apply.
	URL string
	// Secret signs the questions: whsec_ and the base64 of 24 bytes or more, as
	// Standard Webhooks writes it, or plain text of 24 bytes or more, which is
	// the key itself.
	Secret string
	// Timeout is how long one attempt may take. If zero, DefaultTimeout is
	// used. A question with all its attempts, and its wait for a turn, takes 2 s
	// more at most.
	Timeout time.Duration
	// AllowTTL and DenyTTL are the lifetimes of answers that name none. If
	// zero, DefaultAllowTTL and DefaultDenyTTL are used.
	AllowTTL, DenyTTL time.Duration
	// MaxAnswers is how many answers are kept; those not used for longest go
	// first. If zero, DefaultMaxAnswers is used.
	MaxAnswers int
	// MaxInFlight is how many questions are under way at once. If zero,
	// DefaultMaxInFlight is used.
	MaxInFlight int
	// MaxWaiting is how many more may wait for their turn; beyond, a question
	// fails at once. If zero, DefaultMaxWaiting is used: about what an
	// application could answer at all before the wait is over.
	MaxWaiting int
	// Transport sends the requests. If nil, one with its own connections is
	// used.
	Transport http.RoundTripper
	// Logger hears of failures, never of claims, tokens or the secret. If nil,
	// nobody.
	Logger *slog.Logger
	// Now tells when answers end. If nil, time.Now is used.
	Now func() time.Time
	// Hooks observe. All are optional.
	Hooks Hooks
}

// Hooks observe an Authorizer. They are called from several goroutines at
// once, must return soon, and must not call the Authorizer.
type Hooks struct {
	// Cached is called for a question that a kept answer decided.
	Cached func()
	// Asked is called at the end of every other question, once however many
	// callers share it, with the time that it took, its wait for a turn
	// included.
	Asked func(r Result, took time.Duration)
}

// Result is how a question ended. The set is closed, so it may label a metric.
type Result string

// The results. All but the first two are ErrUnavailable to who asked.
const (
	ResultAllow     Result = "allow"
	ResultDeny      Result = "deny"
	ResultTimeout   Result = "timeout"   // the application took too long
	ResultNetwork   Result = "network"   // it could not be reached, or hung up
	ResultStatus    Result = "status"    // it answered with a status other than 200 and 403
	ResultAnswer    Result = "answer"    // it answered with what is not an answer
	ResultCircuit   Result = "circuit"   // not sent: the circuit is open
	ResultOverload  Result = "overload"  // not sent: no turn came in time, or too many wait
	ResultAbandoned Result = "abandoned" // nobody waited for it any more
)

// check tells what is wrong with the options and fills in the defaults.
func (o *Options) check() error {
	u, err := url.Parse(o.URL)
	if err != nil { // the error would quote a password in it
		return &SettingError{"URL", errors.New("is not a URL")}
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return &SettingError{"URL", errors.New("is not an http or https URL with a host")}
	}
	for _, d := range []struct {
		name   string
		value  *time.Duration
		normal time.Duration
	}{
		{"Timeout", &o.Timeout, DefaultTimeout},
		{"AllowTTL", &o.AllowTTL, DefaultAllowTTL},
		{"DenyTTL", &o.DenyTTL, DefaultDenyTTL},
	} {
		if err := orDefault(d.name, d.value, d.normal, maxTTL); err != nil {
			return err
		}
	}
	for _, n := range []struct {
		name   string
		value  *int
		normal int
	}{
		{"MaxAnswers", &o.MaxAnswers, DefaultMaxAnswers},
		{"MaxInFlight", &o.MaxInFlight, DefaultMaxInFlight},
		{"MaxWaiting", &o.MaxWaiting, DefaultMaxWaiting},
	} {
		if err := orDefault(n.name, n.value, n.normal, 10_000_000); err != nil {
			return err
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

func orDefault[T int | time.Duration](name string, value *T, normal, most T) error {
	switch {
	case *value == 0:
		*value = normal
	case *value < 0 || *value > most:
		return &SettingError{name, fmt.Errorf("is %v, allowed are 0, which means %v, to %v", *value, normal, most)}
	}
	return nil
}
