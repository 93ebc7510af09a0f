package httpapi

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"realtime-gateway/internal/readiness"
)

// Degraded is 200: nobody else is known to be better. What is wrong is said
// either way.
func TestReadyz(t *testing.T) {
	parts := map[string]error{"redis": errors.New("no connection"), "streams": nil}
	since := map[string]time.Time{"redis": time.Date(2026, 11, 21, 13, 26, 7, 123456789, time.FixedZone("", 3600))}
	for _, test := range []struct {
		report readiness.Report
		code   int
		body   string
	}{
		{readiness.Report{Status: readiness.Ready, Parts: map[string]error{"redis": nil}}, http.StatusOK, `{"status":"ready","parts":{"redis":"ok"}}`},
		{readiness.Report{Status: readiness.Degraded, Reason: "redis is away", Parts: parts, Since: since}, http.StatusOK,
			`{"status":"degraded","reason":"redis is away","parts":{"redis":"no connection","streams":"ok"},"since":{"redis":"2026-11-21T12:26:07.123Z"}}`},
		{readiness.Report{Status: readiness.NotReady, Reason: "redis: no connection", Parts: parts, Since: since}, http.StatusServiceUnavailable,
			`{"status":"not ready","reason":"redis: no connection","parts":{"redis":"no connection","streams":"ok"},"since":{"redis":"2026-11-21T12:26:07.123Z"}}`},
	} {
		ops := NewOps(OpsOptions{Ready: func() readiness.Report { return test.report }, Metrics: http.NotFoundHandler()})
		w := httptest.NewRecorder()
		ops.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		if body := w.Body.String(); w.Code != test.code || body != test.body+"\n" {
			t.Errorf("%d %s, want %d %s", w.Code, body, test.code, test.body)
		}
	}
}
