package interop_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// curl shows a stream as it comes, ends with it, and continues by hand.
func TestCurl(t *testing.T) {
	path, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("curl is missing, install it: apt-get install curl")
	}
	f := start(t, 1, "--drain-time", "0s")
	ch := "private:curl"
	curl := func(token string, args ...string) (*harness.Process, *harness.Log) {
		out := &harness.Log{}
		args = append([]string{"-sS", "-N", "--fail-with-body", "-H", "Authorization: Bearer " + token}, args...)
		p, err := harness.StartProcess("curl", path, append(args, on(f.replicas[0].URL(), ch).URL), nil, out, out)
		must(t, err)
		t.Cleanup(func() { must(t, p.Kill()) })
		return p, out
	}
	shows := func(out *harness.Log, text string) {
		t.Helper()
		must(t, harness.Until("curl shows "+text, harness.Deadline, func() error {
			if !strings.Contains(out.String(), text) {
				return fmt.Errorf("it shows %q", out)
			}
			return nil
		}))
	}

	refused, out := curl("nonsense")
	if code, err := refused.Wait(harness.Deadline); err != nil || code != 22 || !strings.Contains(out.String(), http.StatusText(http.StatusUnauthorized)) {
		t.Errorf("a refusal: exit code %d (%v), %s", code, err, out)
	}

	token := may("alice", ch)
	first, out := curl(token)
	shows(out, "event: gateway.open")
	f.count(t, 1, 1, ch)
	shows(out, `"n":1`)
	must(t, first.Kill())
	var last string
	for line := range strings.Lines(out.String()) {
		if id, found := strings.CutPrefix(line, "id: "); found {
			last = strings.TrimSpace(id)
		}
	}
	f.count(t, 2, 3, ch)
	second, out := curl(token, "-H", "Last-Event-ID: "+last)
	shows(out, `"n":3`)
	if text := out.String(); strings.Contains(text, `"n":1`) || !strings.Contains(text, `"n":2`) {
		t.Errorf("it continued with %s", text)
	}
	_, err = f.replicas[0].Process().Terminate()
	must(t, err)
	if code, err := second.Wait(harness.Deadline); err != nil || code != 0 {
		t.Errorf("when the stream ended curl said %d, %v: %s", code, err, out)
	}
	shows(out, "event: gateway.close")
}
