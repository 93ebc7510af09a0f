package integration_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// operations are the paths of the operations port, and of what runs in many
// servers beside it.
var operations = []string{
	"/healthz", "/readyz", "/metrics", "/v1/connections", "/v1/connections?user=alice", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline",
	"/debug/vars", "/dev/info", "/dev/replicas", "/",
}

// What operators see is not on the port of strangers, however it is asked for,
// and nobody reads or publishes by the port of operators.
func TestSecurityOperationsAreApart(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1, flags: []string{"--pprof"}})
	g := f.replicas[0]
	root := harness.Token{Sub: "root", Subscribe: []string{"**"}, Publish: []string{"**"}}.Sign()
	for _, path := range operations {
		for _, variant := range []string{path, "/" + path, "/v1/.." + path, "/v1/channels/x/..%2f..%2f.." + path, strings.Replace(path, "/", "/./", 1), path + "?ops=1"} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
				// A path between channels and events would name a channel; these do not.
				if a := knock(t, method, g.URL()+variant, bearer(root), ""); a.status < 400 {
					t.Errorf("%s %s on the public port is answered %d: %.200s", method, variant, a.status, a.body)
				}
			}
		}
	}
	ch := channel("hist")
	for _, path := range []string{"/v1/events?channel=" + ch, "/v1/channels/" + ch + "/events", "/v1/session"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if a := knock(t, method, "http://"+g.OpsAddr+path, bearer(root), "x"); a.status < 400 {
				t.Errorf("%s %s on the operations port is answered %d", method, path, a.status)
			}
		}
	}
	wantNothingPublished(t, f, ch)
}

// Who looks at a replica's state does not see what it is configured with.
func TestSecuritySecretsAreToldToNobody(t *testing.T) {
	t.Parallel()
	const (
		jwtSecret, redisPassword, hookSecret = "SECRET-of-tokens-that-nobody-may-repeat", "SECRETofRedis", "SECRET-of-webhooks-that-nobody-may-repeat"
		hookPassword, setPassword, setQuery  = "SECRETofTheWebhooksURL", "SECRETofTheKeySetsURL", "SECRETinTheQuery"
	)
	flags := []string{
		"--jwt-secret", jwtSecret, "--webhook-secret", hookSecret,
		"--jwks-url", "http://keys:" + setPassword + "@127.0.0.1:1/keys?key=" + setQuery,
		"--redis-url", "redis://gateway:" + redisPassword + "@127.0.0.1:1/0",
	}
	hook := func(t *testing.T, args ...string) []string {
		return append(append([]string{}, flags...), append(args, "--config", writeConfig(t, matrixPolicies))...)
	}
	silent := func(where, text string) {
		t.Helper()
		if at := strings.Index(text, "SECRET"); at >= 0 {
			t.Errorf("%s repeats a secret: …%s…", where, text[max(0, at-100):min(len(text), at+60)])
		}
	}

	// A replica that reaches nothing has much to say.
	g, err := harness.NewGateway(binary, hook(t, "--webhook-url", "http://127.0.0.1:1/may", "--pprof", "--log-level", "debug"), nil)
	must(t, err)
	must(t, g.Start())
	t.Cleanup(func() { must(t, g.Close()) })
	must(t, harness.Until("it says that it reaches neither keys nor Redis", harness.Deadline, func() error {
		for _, want := range []string{"fetch of the JWKS failed", "gateway is listening"} {
			if !strings.Contains(g.Log.String(), want) {
				return errors.New(want + " is not in the log")
			}
		}
		status, body, err := g.Ops("/readyz")
		if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(body, "127.0.0.1:1")) {
			return fmt.Errorf("/readyz is %d: %s", status, body)
		}
		return err
	}))
	ask(t, http.MethodGet, g.URL()+"/v1/channels/public:a/events", "", "")
	for _, path := range append(operations, "/debug/pprof/goroutine?debug=2", "/debug/pprof/symbol") {
		_, body, err := g.Ops(path)
		must(t, err)
		silent(path, body)
	}
	silent("the log", g.Log.String())

	listing, err := command(t, nil, append([]string{"check-config"}, hook(t, "--webhook-url", "http://127.0.0.1:1/may")...)...)
	must(t, err)
	silent("check-config", listing)
	if !strings.Contains(listing, "jwt-secret") {
		t.Errorf("the listing has no settings: %s", listing)
	}
	// Neither do refusals repeat what is wrong.
	for name, args := range map[string][]string{
		"a webhook's URL":   {"--webhook-url", "ftp://hook:" + hookPassword + "@127.0.0.1:1/may"},
		"a webhook's part":  {"--webhook-url", "http://hook:" + hookPassword + "@127.0.0.1:port/may"},
		"Redis' URL":        {"--redis-url", "redis://gateway:" + redisPassword + "@127.0.0.1:port/0"},
		"Redis' kind":       {"--redis-url", "http://gateway:" + redisPassword + "@127.0.0.1:1/0"},
		"the key set's URL": {"--jwks-url", "ftp://keys:" + setPassword + "@127.0.0.1:1/?key=" + setQuery},
		"the key set's":     {"--jwks-url", "http://keys:" + setPassword + "@127.0.0.1:port/?key=" + setQuery},
	} {
		said, err := command(t, nil, append([]string{"--addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0"}, hook(t, args...)...)...)
		if err == nil {
			t.Errorf("%s: starts with it", name)
			continue
		}
		silent("the refusal of "+name, said+err.Error())
	}
}
