package integration_test

import (
	"fmt"
	"net/http"
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
