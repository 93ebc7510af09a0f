package integration_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// The script that publishers call where functions do not exist is there on
// every Redis, under the digest that the gateway gives.
func TestPublishByScript(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1})
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	sha, err := f.db().HGet(t.Context(), "gw.script", "sha").Result()
	must(t, err)
	position, err := f.db().EvalSha(t.Context(), sha, []string{"gw:" + ch}, harness.Counted(1), "EVENTID", "one").Text()
	must(t, err)
	waitNumber(t, s, ch, 1)
	again, err := f.db().EvalSha(t.Context(), sha, []string{"gw:" + ch}, harness.Counted(9), "EVENTID", "one").Text()
	must(t, err)
	if again != position {
		t.Errorf("the same EVENTID by script: %s, then %s", position, again)
	}
	if n := fcall(t, f, ch, harness.Counted(9), "EVENTID", "one"); n != position {
		t.Errorf("the same EVENTID by function: %s, then %s", position, n)
	}

	// Passed on by a shell, which drops line ends at the end.
	must(t, f.db().ScriptFlush(t.Context()).Err())
	host, port, _ := strings.Cut(f.redis.Addr, ":")
	out, err := exec.CommandContext(t.Context(), "sh", "-c",
		`redis-cli -h "$1" -p "$2" SCRIPT LOAD "$(redis-cli -h "$1" -p "$2" HGET gw.script source)"`, "sh", host, port).Output()
	if err != nil {
		t.Fatalf("redis-cli: %v", err)
	}
	if got := strings.TrimSpace(string(out)); got != sha {
		t.Errorf("the source loads as %s, but the gateway gives %s", got, sha)
	}
	must(t, f.db().EvalSha(t.Context(), sha, []string{"gw:" + ch}, harness.Counted(2)).Err())
	waitNumber(t, s, ch, 2)
	wantNumbers(t, s.Now().Of(ch), 1, 2)
}

// A Redis serves one installation: another prefix is refused with a reason,
// and disturbs nobody.
func TestAnotherPrefixIsRefused(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1})
	ch := channel("hist")
	s := open(t, f.url(0), on(ch))
	other, err := harness.NewGateway(binary, []string{"--redis-url", f.redis.URL(), "--redis-prefix", "other", "--config", f.config, "--jwt-secret", harness.Secret}, nil)
	must(t, err)
	t.Cleanup(func() { _ = other.Kill() })
	must(t, other.Start())
	must(t, harness.Until("the reason is logged", harness.Deadline, func() error {
		if !strings.Contains(other.Log.String(), `prefix \"gw\"`) {
			return errors.New("not yet")
		}
		return nil
	}))
	if status, body, err := other.Ops("/readyz"); err != nil || status != 503 {
		t.Errorf("/readyz of the second installation: %d %s (%v), want 503", status, body, err)
	}
	fcall(t, f, ch, harness.Counted(1))
	waitNumber(t, s, ch, 1)
	wantNumbers(t, s.Now().Of(ch), 1, 1)
}
