package integration_test

import (
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// What needs no token in development is for this machine alone: not for other
// addresses, other sites, or names that such a site points at loopback.
func TestSecurityDevModeIsForThisMachine(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--addr", ":0"}, {"--addr", "0.0.0.0:0"}, {"--addr", "[::]:0"}, {"--ops-addr", ":0"}, {"--addr", "192.0.2.1:0"},
	} {
		if said, err := command(t, nil, append([]string{"--dev"}, args...)...); err == nil || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%q: %v %s, want to be refused", args, err, said)
		}
	}
	g, err := harness.NewGateway(binary, []string{"--dev"}, nil)
	must(t, err)
	must(t, g.Start())
	t.Cleanup(func() { must(t, g.Close()) })
	must(t, g.WaitReady())
	_, port, err := net.SplitHostPort(g.Addr)
	must(t, err)

	const ch = "demo:site"
	for name, tt := range map[string]struct {
		host, origin string
		allowed      bool
	}{
		"this machine":          {g.Addr, "", true},
		"by name":               {"localhost:" + port, "http://localhost:3000", true},
		"a name that points":    {"evil.example:" + port, "", false},
		"with its own origin":   {"evil.example:" + port, "http://evil.example:" + port, false},
		"a name like ours":      {"localhost.evil.example:" + port, "", false},
		"an address like ours":  {"127.0.0.1.evil.example:" + port, "", false},
		"another site":          {g.Addr, "https://evil.example", false},
		"an origin like ours":   {g.Addr, "http://localhost.evil.example", false},
		"a frame without one":   {g.Addr, "null", false},
		"an address of no host": {"0.0.0.0:" + port, "", false},
	} {
		for _, target := range []struct{ method, path string }{
			{http.MethodGet, "/v1/channels/" + ch + "/events"}, {http.MethodPost, "/v1/channels/" + ch + "/events"}, {http.MethodGet, "/"}, {http.MethodGet, "/dev/info"},
		} {
			req, err := http.NewRequestWithContext(t.Context(), target.method, g.URL()+target.path, strings.NewReader("x"))
			must(t, err)
			if target.method == http.MethodGet {
				req.Body, req.ContentLength = http.NoBody, 0
			}
			req.Host = tt.host
			if tt.origin != "" {
				req.Header.Set("Origin", tt.origin)
			}
			resp, err := harness.Client.Do(req)
			must(t, err)
			a, err := readAnswer(resp)
			must(t, err)
			if tt.allowed != (a.status == 200) || !tt.allowed && a.status != 403 {
				t.Errorf("%s: %s %s is answered %d %.200s", name, target.method, target.path, a.status, a.body)
			}
			if !tt.allowed && a.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s may read the refusal", name)
			}
		}
	}

	// Nor is a request that a page sends to its Redis a command.
	m := regexp.MustCompile(`redis://(127\.0\.0\.1:\d+)`).FindStringSubmatch(g.Log.String())
	if m == nil {
		t.Fatalf("it printed no Redis on loopback: %s", g.Log)
	}
	s := open(t, g.URL(), on(ch))
	conn, err := net.Dial("tcp", m[1])
	must(t, err)
	w := begin(t, conn, "POST / HTTP/1.1\r\nHost: x\r\n\r\nPUBLISH "+ch+" forged\r\n*3\r\n$7\r\nPUBLISH\r\n$9\r\n"+ch+"\r\n$6\r\nforged\r\n")
	w.wantEnd(t)
	if a := ask(t, http.MethodPost, of(g.URL(), ch), "", harness.Counted(1)); a.status != 200 {
		t.Errorf("publish: %d %s", a.status, a.body)
	}
	waitNumber(t, s, ch, 1)
	if strings.Contains(s.Raw.String(), "forged") {
		t.Errorf("the page has published: %s", s.Raw)
	}
}
