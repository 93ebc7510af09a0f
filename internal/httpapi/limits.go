package httpapi

import (
	"math"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/limit"
	"realtime-gateway/pkg/sse"
)

// Limits bound what one user and one address may have and do, so that none keeps
// the others out. A user is a token's subject; who has no token, or one without
// a subject, is limited by address alone. Zero means no limit, in each.
type Limits struct {
	// ConnectionsPerUser and ConnectionsPerAddress are streams and polls at a time.
	ConnectionsPerUser, ConnectionsPerAddress int
	// SubscribeRatePerUser and SubscribeRatePerAddress are streams, polls and
	// history requests a second; burst says how many may come at once.
	SubscribeRatePerUser, SubscribeRatePerAddress int
	// PublishRatePerUser and PublishRatePerAddress are events a second.
	PublishRatePerUser, PublishRatePerAddress int
}

// burst is for how long a rate that was not used is kept: a service that begins
// anew, or a user's many tabs, come at once.
const burst = 20 * time.Second

// limits are Limits at work.
type limits struct {
	users, addresses   *limit.Slots // nil for no limit
	subscribe, publish rates
}

// rates bound one kind of request.
type rates struct {
	user, address     *limit.Rate
	byUser, byAddress limit.Name
}

func newLimits(l Limits, now func() time.Time) limits {
	slots := func(max int) *limit.Slots {
		if max <= 0 {
			return nil
		}
		return limit.NewSlots(max)
	}
	return limits{
		users: slots(l.ConnectionsPerUser), addresses: slots(l.ConnectionsPerAddress),
		subscribe: rates{
			user: limit.NewRate(l.SubscribeRatePerUser, burst, now), byUser: limit.UserRate,
			address: limit.NewRate(l.SubscribeRatePerAddress, burst, now), byAddress: limit.AddressRate,
		},
		publish: rates{
			user: limit.NewRate(l.PublishRatePerUser, burst, now), byUser: limit.UserPublishRate,
			address: limit.NewRate(l.PublishRatePerAddress, burst, now), byAddress: limit.AddressPublishRate,
		},
	}
}

// limited is the refusal of a request by a limit. It is temporary.
type limited struct {
	name  limit.Name
	retry time.Duration
}

// Error says which limit it was.
func (l *limited) Error() string { return limitText[l.name] }

var limitText = map[limit.Name]string{
	limit.UserConnections:    "this user has as many connections as one user may: close some, or ask again later",
	limit.AddressConnections: "this address has as many connections as one address may: close some, or ask again later",
	limit.UserRate:           "this user asks more often than one user may: ask again later",
	limit.AddressRate:        "this address asks more often than one address may: ask again later",
	limit.UserPublishRate:    "this user publishes more often than one user may: publish again later",
	limit.AddressPublishRate: "this address publishes more often than one address may: publish again later",
}

func (l *limited) problem() *Problem {
	p := problem(http.StatusTooManyRequests, l.Error())
	p.Limit, p.retryAfter = l.name, int(math.Ceil(l.retry.Seconds()))
	return p
}

// overLimit counts a refusal and returns it. Retries are spread, as many tabs of
// one user may be refused together.
func (a *api) overLimit(c echo.Context, claims *auth.Claims, name limit.Name) *limited {
	a.Limited(name)
	user := ""
	if claims != nil {
		user = claims.Subject
	}
	a.Logger.Debug("a limit is reached", "limit", string(name), "user", user, "address", clientAddress(c).String())
	return &limited{name, sse.LimitRetry()}
}

// allowAddress asks the limits of the client's address. It comes before the
// token is verified, which costs more than all that the limits do.
func (a *api) allowAddress(c echo.Context, r *rates) error {
	if r.address != nil && !r.address.Allow(limit.Address(clientAddress(c))) {
		return a.overLimit(c, nil, r.byAddress)
	}
	return nil
}

// isUser tells whether a token says whose it is.
func isUser(claims *auth.Claims) bool { return claims != nil && claims.Subject != "" }

// allowUser asks the limits of the user, if it is one.
func (a *api) allowUser(c echo.Context, claims *auth.Claims, r *rates) error {
	if isUser(claims) && !r.user.Allow(limit.User(claims.Subject)) {
		return a.overLimit(c, claims, r.byUser)
	}
	return nil
}

// admit takes what one more connection of this user and address needs. The
// permit is nil where there are no limits.
func (a *api) admit(c echo.Context, claims *auth.Claims) (sse.Permit, error) {
	var user, address *limit.Slot
	ok := true
	if a.limits.users != nil && isUser(claims) {
		if user, ok = a.limits.users.Take(limit.User(claims.Subject)); !ok {
			return nil, a.overLimit(c, claims, limit.UserConnections)
		}
	}
	if a.limits.addresses != nil {
		if address, ok = a.limits.addresses.Take(limit.Address(clientAddress(c))); !ok {
			if user != nil {
				user.Release()
			}
			return nil, a.overLimit(c, claims, limit.AddressConnections)
		}
	}
	switch {
	case user == nil && address == nil:
		return nil, nil
	case address == nil:
		return user, nil
	case user == nil:
		return address, nil
	}
	return &both{user, address}, nil
}

// both is a connection's permit where user and address are limited. With one
// of them, the slot itself is, which costs the connection nothing of its own.
type both struct{ user, address *limit.Slot }

// Release implements sse.Permit.
func (b *both) Release() {
	b.user.Release()
	b.address.Release()
}

// refuseStream answers a stream that a limit refuses. The client of HTTP/1 is to
// come back on another connection, or this one would be kept for it till then.
func (a *api) refuseStream(c echo.Context, l *limited) {
	if c.Request().ProtoMajor == 1 {
		c.Response().Header().Set("Connection", "close")
	}
	a.takeOver(c)
	a.Streams.RefuseLimit(c.Response().Writer, string(l.name))
}

// clientAddress is who a request comes from, as far as it can be believed. It is
// no address where there is none, as over a Unix socket.
func clientAddress(c echo.Context) netip.Addr {
	address, _ := netip.ParseAddr(c.RealIP())
	return address
}

// addressFrom returns how a client's address is found: that of the connection,
// or behind trusted proxies the last one in X-Forwarded-For that is not theirs.
// All such headers count as one list, in their order. Where something in it that
// counts is no address, the connection's is taken. "Forwarded" (RFC 7239) is not
// read: a proxy that sets one of the two passes the other on as the client has
// sent it.
func addressFrom(trusted []netip.Prefix) echo.IPExtractor {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect()
	}
	// By default echo trusts all private networks.
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range trusted {
		options = append(options, echo.TrustIPRange(&net.IPNet{
			IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		}))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}
