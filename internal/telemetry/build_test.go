package telemetry

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRecordBuild(t *testing.T) {
	telemetry, err := New(Options{Version: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	if err := telemetry.RecordBuild("v1.2.3", "abc", "go1.26.8"); err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	telemetry.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	const want = "\n" + `gateway_build_info{commit="abc",go_version="go1.26.8",version="v1.2.3"} 1` + "\n"
	if body := answer.Body.String(); !strings.Contains(body, want) {
		t.Errorf("no line %q in\n%s", want, body)
	}
	if err := telemetry.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
