package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/trace"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/limit"
	"realtime-gateway/internal/origin"
	"realtime-gateway/internal/revocation"
	"realtime-gateway/internal/webhook"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
	"realtime-gateway/pkg/sse"
)

// Publisher publishes one event; *redisbus.Publisher is one. Its errors are those
// of package redisbus. Of redisbus.ErrDenied it tells the log itself.
type Publisher interface {
	Publish(ctx context.Context, m redisbus.Message) (channels.Position, error)
}

// Options configure the interface. Hub, Streams and Publisher are required.
type Options struct {
	Hub       *channels.Hub
	Streams   *sse.Handler
	Publisher Publisher
	// Verifier checks tokens. Nil means that no key is configured: then nobody
	// has a token, and only public channels can be read.
	Verifier *auth.Verifier
	// Authorizer is asked about channels whose policy leaves the decision to the
	// application's webhook. Nil means that none is configured: then nobody may.
	Authorizer Authorizer
	// Revoked knows whose rights were taken back. Nil means that nobody's are.
	Revoked *revocation.Registry
	// Open lets everyone read and publish on every channel that has a policy,
	// token or not. For development on loopback only.
	Open bool
	// TokenCookie is the cookie that may carry the token. If empty,
	// auth.DefaultCookie.
	TokenCookie string
	// CookieSameSite is that of the session cookie. If zero, strict.
	CookieSameSite http.SameSite
	// AllowedOrigins are those whose pages may use the interface, beside its own.
	AllowedOrigins origin.List
	// MaxChannels is how many channels one connection may have. If zero, 200.
	MaxChannels int
	// AutoSubscribe are the channels that every connection joins, where it may.
	// With Open nobody has claims, so those with placeholders are left out.
	AutoSubscribe []channels.Template
	// MaxPayload is the longest payload that may be published, in bytes. If
	// zero, redisbus.DefaultMaxPayload.
	MaxPayload int
	// BodyTimeout is how long a request body may take to arrive. If zero, 10 s.
	BodyTimeout time.Duration
	// Limits bound users and addresses.
	Limits Limits
	// Limited is told of every refusal by a limit, if not nil. It must not block.
	Limited func(limit.Name)
	// Authenticated is told whom each request was found to be from, if not nil;
	// of a token whose rights were taken back it is told twice, first that it is
	// good. It must not block.
	Authenticated func(auth.Result)
	// Tracer makes the spans of what clients ask for. If nil, nothing is traced.
	Tracer trace.Tracer
	// TrustedProxies are who is believed what X-Forwarded-For says. If empty, the
	// client's address is that of the connection.
	TrustedProxies []netip.Prefix
	Dev            *Dev         // what --dev serves beside; nil for none
	Logger         *slog.Logger // if nil, slog.Default()
	Now            func() time.Time
}

type api struct {
	Options
	limits limits
}

// New returns the handler of the public address.
func New(o Options) http.Handler {
	if o.MaxChannels == 0 {
		o.MaxChannels = 200
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = redisbus.DefaultMaxPayload
	}
	if o.BodyTimeout == 0 {
		o.BodyTimeout = 10 * time.Second
	}
	if o.CookieSameSite == 0 {
		o.CookieSameSite = http.SameSiteStrictMode
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Limited == nil {
		o.Limited = func(limit.Name) {}
	}
	if o.Authenticated == nil {
		o.Authenticated = func(auth.Result) {}
	}
	a := &api{o, newLimits(o.Limits, o.Now)}
	e := echo.New()
	e.IPExtractor = addressFrom(o.TrustedProxies)
	e.HTTPErrorHandler = a.fail
	e.Use(a.recover, a.limitBody)
	if o.Dev != nil {
		e.Use(a.loopbackOnly)
	}
	if o.Dev != nil || len(o.AllowedOrigins) > 0 {
		e.Use(a.cors())
	}
	e.GET("/v1/events", a.subscribe)
	e.POST("/v1/events", a.subscribe)
	// Channel names may hold slashes, so the rest of the path is taken apart
	// by channelPath.
	e.GET("/v1/channels/*", a.traced("history", trace.SpanKindServer, a.history))
	e.POST("/v1/channels/*", a.traced("publish", trace.SpanKindProducer, a.publish))
	e.POST("/v1/session", a.openSession)
	e.DELETE("/v1/session", a.closeSession)
	if o.Dev != nil {
		o.Dev.routes(e)
	}
	return secure(e)
}

// recover turns a panic into an answer and a log line; it must not take the
// other streams of the replica along.
func (a *api) recover(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if r := recover(); r != nil {
				if r == http.ErrAbortHandler {
					panic(r)
				}
				a.Logger.ErrorContext(c.Request().Context(), "a request failed unexpectedly", "path", c.Request().URL.Path, "panic", r, "stack", stack())
				err = problem(http.StatusInternalServerError, "the gateway failed to handle this request; its log says more")
			}
		}()
		return next(c)
	}
}

// limitBody keeps slow senders from holding a request open. The deadline is
// lifted with the body's end, because a stream may follow.
func (a *api) limitBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.Body == nil || r.Body == http.NoBody {
			return next(c)
		}
		control := http.NewResponseController(c.Response().Writer)
		if control.SetReadDeadline(time.Now().Add(a.BodyTimeout)) == nil {
			r.Body = &timedBody{r.Body, control}
		}
		return next(c)
	}
}

// unhurried does what a client waits for before its body is read, without taking
// that from the time of the body.
func (a *api) unhurried(r *http.Request, do func() error) error {
	b, ok := r.Body.(*timedBody)
	if !ok {
		return do()
	}
	// Lifted and not moved: in HTTP/2 a deadline that has passed ends the body.
	_ = b.control.SetReadDeadline(time.Time{})
	defer func() { _ = b.control.SetReadDeadline(time.Now().Add(a.BodyTimeout)) }()
	return do()
}

type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read implements io.Reader.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// identify verifies the request's token. Nobody is nil claims without error.
func (a *api) identify(r *http.Request) (*auth.Claims, error) {
	if a.Open || a.Verifier == nil {
		a.Authenticated(auth.ResultNone)
		return nil, nil
	}
	token, from := auth.FromRequest(r, a.TokenCookie)
	switch from {
	case auth.FromNowhere:
		a.Authenticated(auth.ResultNone)
		return nil, nil
	case auth.FromCookie:
		if err := a.ownPage(r); err != nil {
			return nil, err
		}
	}
	return a.verify(r.Context(), token)
}

// verify returns whose token it is.
func (a *api) verify(ctx context.Context, token string) (*auth.Claims, error) {
	claims, err := a.Verifier.Verify(ctx, token)
	// The verifier allows for clocks that differ a little. A stream would end
	// again as soon as it began.
	if err == nil && claims != nil && !claims.Expires.IsZero() && !a.Now().Before(claims.Expires) {
		err = &auth.TokenError{Reason: auth.ReasonExpired}
	}
	a.Authenticated(auth.ResultOf(err))
	var bad *auth.TokenError
	if errors.As(err, &bad) {
		return nil, problem(http.StatusUnauthorized, bad.Error())
	}
	return claims, err
}

// maySubscribe returns the channel's policy where the holder of claims may read
// it, otherwise a problem. With a question, only if the application says so.
func (a *api) maySubscribe(claims *auth.Claims, channel string) (*channels.Policy, *webhook.Question, error) {
	policy, err := a.Hub.Policy(channel)
	if err != nil {
		return nil, nil, channelProblem(channel, err)
	}
	if a.Open {
		return policy, nil, nil
	}
	switch auth.Decide(policy, claims, channel) {
	case auth.Allowed:
		return policy, nil, nil
	case auth.NeedToken:
		return nil, nil, problem(http.StatusUnauthorized, "channel "+quote(channel)+" needs a token: send Authorization: Bearer, the cookie "+a.cookieName()+", or the query parameter token")
	case auth.Ask:
		if a.Authorizer != nil {
			return policy, question(claims, channel, webhook.Subscribe), nil
		}
	}
	return nil, nil, forbidden(channel)
}

// mayRead is maySubscribe for one request, whoever decides; stillHas has to be
// asked behind the reading.
func (a *api) mayRead(ctx context.Context, claims *auth.Claims, channel string) error {
	_, q, err := a.maySubscribe(claims, channel)
	if err == nil && q != nil {
		_, err = a.ask(ctx, q)
	}
	return err
}

// mayPublish returns nil where the holder of claims may publish to the channel,
// otherwise a problem.
func (a *api) mayPublish(ctx context.Context, claims *auth.Claims, channel string) error {
	policy, err := a.Hub.Policy(channel)
	if err != nil {
		return channelProblem(channel, err)
	}
	if a.Open {
		return nil
	}
	switch decision := auth.DecidePublish(policy, claims, channel); {
	case decision == auth.Allowed:
	case decision == auth.NeedToken:
		return problem(http.StatusUnauthorized, "publishing to "+quote(channel)+" needs a token with the right to")
	case decision == auth.Ask && a.Authorizer != nil:
		if _, err := a.ask(ctx, question(claims, channel, webhook.Publish)); err != nil {
			return err
		}
	case policy.Publish == channels.AccessNone:
		return problem(http.StatusForbidden, "nobody publishes to "+quote(channel)+" over HTTP")
	default:
		return problem(http.StatusForbidden, "the token gives no right to publish to "+quote(channel))
	}
	return a.stillHas(ctx, claims, channel)
}

func (a *api) cookieName() string {
	if a.TokenCookie == "" {
		return auth.DefaultCookie
	}
	return a.TokenCookie
}
