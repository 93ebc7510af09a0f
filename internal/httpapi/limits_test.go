package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"realtime-gateway/internal/limit"
)

const (
	poll    = "/v1/events?channel=a&mode=poll"
	history = "/v1/channels/a/events"
)

// One user at the limit keeps nobody else out, and has its places again when its
// streams end, however they do.
func TestConnectionsPerUser(t *testing.T) {
	onEachPath(t, func(t *testing.T, loops int) {
		f := serveSockets(t, loops, func(o *Options) { o.Limits.ConnectionsPerUser = 2 })
		alice := request{user: "alice"}
		first, second := f.do(alice).wantOpen(t), f.do(alice).wantOpen(t)
		f.do(alice).wantRefused(t, limit.UserConnections)
		f.do(request{user: "alice", path: poll}).wantProblem(t, limit.UserConnections)
		f.do(request{user: "alice", method: "POST", path: "/v1/events", body: `{"channel":"a"}`}).wantRefused(t, limit.UserConnections)
		f.wantLimited(limit.UserConnections, 3)
		f.do(request{user: "alice", path: history}).wantStatus(t, 200) // no connection that stays
		f.do(request{user: "bob"}).wantOpen(t)
		for range 3 {
			f.do(request{}).wantOpen(t) // nobody is no user
		}
		f.wantConnections(6)

		first.conn.Close()
		f.wantConnections(5)
		third := f.do(alice).wantOpen(t)
		second.conn.SetLinger(0) // as in a crash
		second.conn.Close()
		f.wantConnections(5)
		f.do(request{user: "alice", ttl: 2 * time.Second}).wantOpen(t)
		f.do(alice).wantRefused(t, limit.UserConnections)
		f.wantConnections(5) // the token's end
		f.do(alice).wantOpen(t)
		f.do(alice).wantRefused(t, limit.UserConnections)
		third.conn.Close()

		if err := f.streams.Drain(t.Context(), 0); err != nil {
			t.Error(err)
		}
		if event, data := f.do(alice).event(t); !strings.Contains(data, "draining") {
			t.Errorf("after the drain: %s %s", event, data)
		}
	})
}

// A request that is refused for another reason takes no place.
func TestRefusedRequestsTakeNoPlace(t *testing.T) {
	onEachPath(t, func(t *testing.T, loops int) {
		f := serveSockets(t, loops, func(o *Options) { o.Limits.ConnectionsPerUser, o.Limits.ConnectionsPerAddress = 1, 1 })
		for range 3 {
			f.do(request{user: "alice", path: "/v1/events?channel=a::b"}).wantStatus(t, 400)
			f.do(request{user: "alice", path: "/v1/events?channel=a", header: []string{"Last-Event-ID: nonsense"}}).wantStatus(t, 400)
		}
		f.do(request{user: "alice"}).wantOpen(t)
		// Who is refused because of the address has not taken the user's place.
		f.do(request{user: "bob"}).wantRefused(t, limit.AddressConnections)
		f.do(request{user: "bob", from: "127.0.0.2"}).wantOpen(t)
	})
}

func TestConnectionsPerAddress(t *testing.T) {
	onEachPath(t, func(t *testing.T, loops int) {
		f := serveSockets(t, loops, func(o *Options) { o.Limits.ConnectionsPerAddress = 1 })
		first := f.do(request{}).wantOpen(t)
		f.do(request{user: "alice"}).wantRefused(t, limit.AddressConnections)
		// What anybody says who is no trusted proxy counts for nothing.
		f.do(request{header: []string{"X-Forwarded-For: 192.0.2.1", "X-Real-IP: 192.0.2.1", "Forwarded: for=192.0.2.1"}}).wantRefused(t, limit.AddressConnections)
		f.do(request{from: "127.0.0.2"}).wantOpen(t)
		first.conn.Close()
		f.wantConnections(1)
		f.do(request{}).wantOpen(t)
	})
}

// Behind a trusted proxy it is the client's address that counts.
func TestConnectionsPerAddressBehindAProxy(t *testing.T) {
	onEachPath(t, func(t *testing.T, loops int) {
		f := serveSockets(t, loops, func(o *Options) {
			o.Limits.ConnectionsPerAddress = 1
			o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32"), netip.MustParsePrefix("10.0.0.0/8")}
		})
		by := func(list ...string) request {
			r := request{from: "127.0.0.9"}
			for _, xff := range list {
				r.header = append(r.header, "X-Forwarded-For: "+xff)
			}
			return r
		}
		first := f.do(by("192.0.2.1")).wantOpen(t)
		f.do(by("192.0.2.2")).wantOpen(t)
		for _, same := range []request{
			by("192.0.2.1"), by("203.0.113.5, 192.0.2.1"), by("203.0.113.6", "192.0.2.1, 10.1.2.3"), by("nonsense,192.0.2.1"), by("::ffff:192.0.2.1"),
		} {
			f.do(same).wantRefused(t, limit.AddressConnections)
		}
		f.do(by("2001:db8:0:1::1")).wantOpen(t)
		f.do(by("2001:db8:0:1::2")).wantRefused(t, limit.AddressConnections)
		f.do(by("2001:db8:0:2::1")).wantOpen(t)
		// What cannot be read counts as the proxy's own.
		f.do(by("nonsense")).wantOpen(t)
		for _, unreadable := range []request{by("192.0.2.7, nonsense"), by(""), by("192.0.2.8:1234"), by()} {
			f.do(unreadable).wantRefused(t, limit.AddressConnections)
		}
		// The proxy's neighbour is not trusted.
		forged := request{from: "127.0.0.8", header: []string{"X-Forwarded-For: 192.0.2.3"}}
		f.do(forged).wantOpen(t)
		forged.header = []string{"X-Forwarded-For: 192.0.2.4"}
		f.do(forged).wantRefused(t, limit.AddressConnections)
		first.conn.Close()
		f.wantConnections(5)
		f.do(by("192.0.2.1")).wantOpen(t)
	})
}

func TestSubscribeRates(t *testing.T) {
	onEachPath(t, func(t *testing.T, loops int) {
		f := serveSockets(t, loops, func(o *Options) { o.Limits.SubscribeRatePerUser = 1 })
		for range 10 {
			f.do(request{user: "alice"}).wantOpen(t)
			f.do(request{user: "alice", path: history}).wantStatus(t, 200)
		}
		retries := make(map[int]bool)
		for range 8 {
			retries[f.do(request{user: "alice", from: "127.0.0.2"}).wantRefused(t, limit.UserRate)] = true
		}
		if len(retries) < 6 {
			t.Errorf("8 refusals have %d different retries", len(retries))
		}
		f.do(request{user: "alice", path: poll}).wantProblem(t, limit.UserRate)
		f.do(request{user: "alice", path: history}).wantProblem(t, limit.UserRate)
		f.wantLimited(limit.UserRate, 10)
		f.do(request{user: "bob"}).wantOpen(t)
		f.do(request{}).wantOpen(t)
		f.do(request{user: "alice", method: "POST", path: history, body: "x"}).wantStatus(t, 200) // publishing counts by itself
	})
}

// The limit of an address is asked before the token is looked at: bad ones cost
// no more than others.
func TestSubscribeRateOfAnAddress(t *testing.T) {
	f := serveSockets(t, 0, func(o *Options) { o.Limits.SubscribeRatePerAddress = 1 })
	bad := request{header: []string{"Authorization: Bearer nonsense"}}
	for range 20 {
		f.do(bad).wantStatus(t, 401)
	}
	f.do(bad).wantRefused(t, limit.AddressRate)
	f.do(request{user: "alice"}).wantRefused(t, limit.AddressRate)
	f.do(request{user: "alice", path: history}).wantProblem(t, limit.AddressRate)
	f.do(request{user: "alice", from: "127.0.0.2"}).wantOpen(t)
	f.wantLimited(limit.AddressRate, 3)
}

func TestPublishRates(t *testing.T) {
	f := serveSockets(t, 0, func(o *Options) { o.Limits.PublishRatePerUser, o.Limits.PublishRatePerAddress = 1, 2 })
	publish := func(user string) *answer {
		return f.do(request{method: "POST", path: history, user: user, body: `{"type":"x"}`})
	}
	for range 20 {
		publish("alice").wantStatus(t, 200)
	}
	publish("alice").wantProblem(t, limit.UserPublishRate)
	for range 19 {
		publish("bob").wantStatus(t, 200)
	}
	publish("bob").wantProblem(t, limit.AddressPublishRate)
	f.do(request{method: "POST", path: history, user: "bob", from: "127.0.0.2", body: "x"}).wantStatus(t, 200)
	f.do(request{user: "alice"}).wantOpen(t)
	f.wantLimited(limit.UserPublishRate, 1)
	f.wantLimited(limit.AddressPublishRate, 1)
}

// Of a query with far too many channels no more is looked at than could be
// allowed, and neither a policy nor a right is.
func TestTooManyChannelsAreCheap(t *testing.T) {
	names := func(n int) []string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprint("c", i)
		}
		return list
	}
	h := New(Options{}) // without a hub, what looked a channel up would fail
	many := strings.Join(names(10_000), "&channel=")
	body := `{"channel":["` + strings.Join(names(10_000), `","`) + `"]}`
	for _, r := range []*http.Request{
		httptest.NewRequest(http.MethodGet, "/v1/events?channel="+many, nil),
		httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(body)),
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: answered %d %s", r.Method, w.Code, w.Body)
		}
	}
	a := &api{Options: Options{MaxChannels: 200}}
	allocations := func(n int) float64 {
		given := text{channels: names(n)}
		return testing.AllocsPerRun(10, func() { _, _ = a.parse(given) })
	}
	// The race detector adds one now and then.
	if few, many := allocations(201), allocations(10_000); many > few+10 {
		t.Errorf("10,000 channels take %v allocations, 201 take %v", many, few)
	}
}
