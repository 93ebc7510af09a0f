package integration_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// An operator has a running replica log more, and then less again.
func TestTheLogLevelChangesWhileItRuns(t *testing.T) {
	t.Parallel()
	f := own(t, setup{replicas: 1})
	g := f.replicas[0]
	put := func(level string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+g.OpsAddr+"/loglevel", strings.NewReader(level))
		must(t, err)
		resp, err := harness.Client.Do(r)
		must(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		return strings.TrimSpace(string(text))
	}
	ch := channel("hist")
	closed := func() int { return strings.Count(g.Log.String(), `"stream closed"`) }
	visit := func() {
		t.Helper()
		open(t, f.url(0), on(ch)).Close()
		wantMetric(t, g, "gateway_connections", "0")
	}
	visit()
	if n := closed(); n != 0 {
		t.Errorf("%d lines of level debug", n)
	}
	if got := put("debug"); got != `{"level":"debug"}` {
		t.Errorf("answered %s", got)
	}
	visit()
	must(t, harness.Until("the line is there", harness.Deadline, func() error {
		if closed() == 0 {
			return errors.New("it is not")
		}
		return nil
	}))
	put("warn")
	before := closed()
	visit()
	if n := closed(); n != before {
		t.Errorf("%d more lines of level debug", n-before)
	}
	if got := put("loud"); !strings.Contains(got, "allowed is debug, info, warn or error") {
		t.Errorf("answered %s", got)
	}
}
