package integration_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"realtime-gateway/test/integration/harness"
)

// `gateway --dev` alone is a running system.
func TestDevMode(t *testing.T) {
	t.Parallel()
	g, err := harness.NewGateway(binary, []string{"--dev"}, nil)
	must(t, err)
	must(t, g.Start())
	t.Cleanup(func() {
		must(t, g.Close())
		if err := crashes(g.Log.String()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("gateway --dev said:\n%s", g.Log)
		}
	})
	must(t, g.WaitReady())

	page := ask(t, http.MethodGet, g.URL()+"/", "", "")
	if page.status != http.StatusOK || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") || !strings.Contains(page.body, "<") {
		t.Errorf("the page: status %d, %s, %d bytes", page.status, page.header.Get("Content-Type"), len(page.body))
	}
	var addr string
	must(t, harness.Until("it prints the address of its Redis", harness.Deadline, func() error {
		m := regexp.MustCompile(`redis://(127\.0\.0\.1:\d+)`).FindStringSubmatch(g.Log.String())
		if m == nil {
			return fmt.Errorf("it printed %s", g.Log)
		}
		addr = m[1]
		return nil
	}))
	db := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, MaxRetries: -1})
	defer db.Close()
	const ch = "demo:hello"
	s := open(t, g.URL(), on(ch))
	position, err := db.FCall(t.Context(), "gateway_publish", []string{"gw:" + ch}, harness.Counted(1)).Text()
	must(t, err)
	must(t, db.Publish(t.Context(), ch, harness.Counted(2)).Err())
	again, err := db.FCall(t.Context(), "gateway_publish", []string{"gw:" + ch}, harness.Counted(3), "EVENTID", "three").Text()
	must(t, err)
	same, err := db.FCall(t.Context(), "gateway_publish", []string{"gw:" + ch}, harness.Counted(3), "EVENTID", "three").Text()
	must(t, err)
	if position == "" || again != same {
		t.Errorf("FCALL returned %q, and for one EVENTID %q and %q", position, again, same)
	}
	waitCount(t, s, ch, 3)
	seen := map[int]int{}
	for _, e := range s.Now().Published(ch) {
		seen[e.N]++
	}
	if len(seen) != 3 {
		t.Errorf("want events 1, 2 and 3 once: %s", s.Now())
	}
	resumed := open(t, g.URL(), from(s.Now().Events[0].ID, ch))
	waitCount(t, resumed, ch, 3)
	noGaps(t, resumed)
}

// With --dev-rights development is open to nobody without a token, and who has
// one joins the channels of its claims.
func TestDevModeWithRights(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	must(t, os.WriteFile(file, []byte("autoSubscribe: ['user:{sub}']\nchannels: [{pattern: 'user:{sub}', historySize: 10, subscribe: authenticated}]\n"), 0o600))
	g, err := harness.NewGateway(binary, []string{"--dev", "--dev-rights", "--config", file}, []string{"GATEWAY_JWT_SECRET=" + harness.Secret})
	must(t, err)
	must(t, g.Start())
	t.Cleanup(func() { must(t, g.Close()) })
	must(t, g.WaitReady())

	if a := ask(t, http.MethodGet, g.URL()+"/v1/events?channel=user:alice", "", ""); a.status != http.StatusUnauthorized {
		t.Errorf("without a token: status %d, want 401", a.status)
	}
	if a := ask(t, http.MethodPost, g.URL()+"/v1/channels/user:alice/events", "", "x"); a.status != http.StatusUnauthorized {
		t.Errorf("publishing without a token: status %d, want 401", a.status)
	}
	if a := ask(t, http.MethodGet, g.URL()+"/v1/events?channel=user:alice", harness.Token{Sub: "bob"}.Sign(), ""); a.status != http.StatusForbidden {
		t.Errorf("with another user's: status %d, want 403", a.status)
	}
	s := open(t, g.URL(), harness.Subscribe{Header: bearer(harness.Token{Sub: "alice"}.Sign())})
	if first := s.Now().Events[0]; !strings.Contains(string(first.Data), `"user:alice"`) {
		t.Errorf("gateway.open is %s, want it to name user:alice", first.Data)
	}
}
