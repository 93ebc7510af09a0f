package integration_test

import (
	"net/http"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// Where Redis has neither functions nor sharded Pub/Sub, everything but FCALL
// works, and the log says what was found.
func TestRedisWithoutFunctions(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]setup{
		"single":  {redisArgs: append([]string{"--rename-command", "CONFIG", ""}, harness.Legacy...)},
		"cluster": {cluster: &harness.ClusterOptions{Args: harness.Legacy}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := own(t, s)
			chs := []string{channel("hist")}
			if f.cluster != nil {
				chs = spread(t, f, "hist")
			}
			if _, err := tryFcall(f, chs[0], "x"); err == nil {
				t.Fatal("FCALL works: the test tests nothing")
			}
			for i, g := range f.replicas {
				if !strings.Contains(g.Log.String(), `"as":"scripts"`) {
					t.Errorf("replica %d does not log that it uses scripts", i)
				}
			}
			streams := []*harness.Stream{open(t, f.url(0), on(chs...)), open(t, f.url(1), on(chs...))}
			token := harness.Token{Sub: "service", Publish: []string{"hist:**"}}.Sign()
			heard := func(ch string, n int) {
				t.Helper()
				for _, s := range streams {
					waitNumber(t, s, ch, n)
				}
			}
			for _, ch := range chs {
				publish(t, f, ch, harness.Counted(1))
				heard(ch, 1)
				out, err := command(t, nil, "publish", ch, harness.Counted(2), "--redis-url", f.server().URL(), "--config", f.config)
				if err != nil {
					t.Fatalf("gateway publish: %v\n%s", err, out)
				}
				heard(ch, 2)
				if a := ask(t, http.MethodPost, of(f.url(0), ch), token, harness.Counted(3)); a.status/100 != 2 {
					t.Fatalf("POST: status %d: %s", a.status, a.body)
				}
				heard(ch, 3)
				for _, s := range streams {
					wantNumbers(t, s.Now().Of(ch), 1, 3)
				}
				waitRecorded(t, f, ch, 3)
			}
			back := open(t, f.url(1), from(streams[0].Now().Events[0].ID, chs...))
			for _, ch := range chs {
				waitNumber(t, back, ch, 3)
				wantNumbers(t, back.Now().Of(ch), 1, 3)
			}
		})
	}
}
