package httpapi

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"realtime-gateway/internal/readiness"
)

type level string

func (l *level) Level() string { return string(*l) }

func (l *level) SetLevel(to string) error {
	if to != "debug" && to != "info" {
		return errors.New("the level is debug or info")
	}
	*l = level(to)
	return nil
}

func TestLogLevel(t *testing.T) {
	now := level("info")
	ops := NewOps(OpsOptions{Ready: func() readiness.Report { return readiness.Report{Status: readiness.Ready} }, Metrics: http.NotFoundHandler(), LogLevel: &now})
	for _, step := range []struct {
		method, body string
		status       int
		level        string
	}{
		{"GET", "", 200, "info"},
		{"PUT", "debug", 200, "debug"},
		{"PUT", "verbose", 400, "debug"},
		{"PUT", "", 400, "debug"},
		{"PUT", `{"level":`, 400, "debug"},
		{"PUT", strings.Repeat("x", maxLevelBody+1), 400, "debug"},
		{"PUT", ` {"level":"info"}` + "\n", 200, "info"},
		{"POST", "debug", 405, "info"},
		{"GET", "", 200, "info"},
	} {
		w := httptest.NewRecorder()
		ops.ServeHTTP(w, httptest.NewRequest(step.method, "/loglevel", strings.NewReader(step.body)))
		if w.Code != step.status || string(now) != step.level {
			t.Errorf("%s %.20q: %d, level %s; want %d, %s", step.method, step.body, w.Code, now, step.status, step.level)
		}
		if w.Code == 200 && strings.TrimSpace(w.Body.String()) != `{"level":"`+step.level+`"}` {
			t.Errorf("%s %.20q answers %s", step.method, step.body, w.Body)
		}
	}
}
