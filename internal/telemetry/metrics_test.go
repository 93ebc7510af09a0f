package telemetry

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"realtime-gateway/internal/auth"
	"realtime-gateway/internal/limit"
	"realtime-gateway/internal/pages"
	"realtime-gateway/internal/webhook"
	"realtime-gateway/pkg/channels"
	"realtime-gateway/pkg/redisbus"
	"realtime-gateway/pkg/sse"
)

// docs/metrics.md says what the code does; make docs writes it.
func TestTheDocumentIsCurrent(t *testing.T) {
	pages.Generated(t, "../../docs/metrics.md", "metrics", Reference())
}

// scrape reads the metrics of the gateway as Prometheus does.
func scrape(t *testing.T, o *Telemetry) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	o.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name := range families {
		if !strings.HasPrefix(name, "gateway_") {
			delete(families, name)
		}
	}
	return families
}

func newTelemetry(t *testing.T) *Telemetry {
	t.Helper()
	environment(t)
	o, err := New(Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Shutdown(t.Context()) })
	if err := o.RecordBuild("test", "abc", "go1"); err != nil {
		t.Fatal(err)
	}
	zero := func() int { return 0 }
	err = o.Observe(Sources{
		Connections: zero, LoopConnections: zero, Subscriptions: zero, Channels: zero,
		Lag: func() (int64, int) { return 0, 0 }, LogBytes: func() int64 { return 0 }, Ready: func() bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.ObserveKeySet(func() time.Time { return time.Time{} }); err != nil {
		t.Fatal(err)
	}
	if err := o.ObserveCertificate(func() time.Time { return time.Unix(0, 0) }); err != nil {
		t.Fatal(err)
	}
	return o
}

// labelled returns the values of a family's only label, and what each counts.
func labelled(t *testing.T, f *dto.MetricFamily, label string) map[string]float64 {
	t.Helper()
	out := make(map[string]float64)
	for _, m := range f.Metric {
		value := ""
		for _, l := range m.Label {
			if l.GetName() != label {
				t.Errorf("%s has the label %s", f.GetName(), l.GetName())
			}
			value = l.GetValue()
		}
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			out[value] = m.Counter.GetValue()
		case dto.MetricType_GAUGE:
			out[value] = m.Gauge.GetValue()
		case dto.MetricType_HISTOGRAM:
			out[value] = float64(m.Histogram.GetSampleCount())
		}
	}
	return out
}

// Before anything happened every series of a counter and a gauge is there, with
// 0, and no other.
func TestEverySeriesIsThereFromTheStart(t *testing.T) {
	families := scrape(t, newTelemetry(t))
	for i := range Metrics {
		m := &Metrics[i]
		f := families[m.Series()]
		delete(families, m.Series())
		if m.Kind == Histogram {
			if f != nil {
				t.Errorf("%s is there without a value", m.Series())
			}
			continue
		}
		if f == nil {
			t.Errorf("there is no %s", m.Series())
			continue
		}
		if got := strings.ToLower(f.GetType().String()); got != string(m.Kind) {
			t.Errorf("%s is a %s, want a %s", m.Series(), got, m.Kind)
		}
		if f.GetHelp() != m.Help {
			t.Errorf("the help of %s is %q", m.Series(), f.GetHelp())
		}
		if m.Name == "gateway.build.info" {
			continue // TestRecordBuild looks at its labels
		}
		want := 1
		if m.Label != "" {
			want = len(m.Values)
		}
		series := labelled(t, f, m.Label)
		if len(series) != want {
			t.Errorf("%s has the series %v, want %d", m.Series(), series, want)
		}
		for value, n := range series {
			if n != 0 || m.Label != "" && !slices.Contains(m.Values, value) {
				t.Errorf("%s{%s=%q} is %v", m.Series(), m.Label, value, n)
			}
		}
	}
	for name := range families {
		t.Errorf("%s is not described", name)
	}
}

// Every hook moves a series that is described, and adds none.
func TestHooksMoveTheirSeries(t *testing.T) {
	o := newTelemetry(t)
	o.RecordConnectionLimit(10)
	c := o.Channels()
	c.EventIn()
	c.Conflated()
	c.Missed()
	c.Lag(-time.Second) // clocks differ
	c.Evicted(3)
	for _, r := range []channels.GapReason{channels.GapTrimmed, channels.GapExpired, channels.GapLost, channels.GapDropped, channels.GapCursor} {
		c.Gap(r)
	}
	for _, r := range []channels.DropReason{channels.DropFull, channels.DropExpired} {
		c.Dropped(r, 2)
	}
	c.Read(channels.FromLog)
	c.Read(channels.FromHistory)
	s := o.Streams()
	s.Opened(false)
	s.Opened(true)
	s.Wrote(1, 2, 3)
	s.Delivered(time.Millisecond)
	for _, r := range find("gateway.streams.closed").Values {
		s.Closed(r, time.Minute)
	}
	for _, r := range find("gateway.streams.refused").Values {
		s.Refused(sse.CloseReason(r))
	}
	for _, n := range find("gateway.limited").Values {
		o.Limited()(limit.Name(n))
	}
	for _, r := range []auth.Result{auth.ResultOK, auth.ResultNone, auth.ResultExpired, auth.ResultBad, auth.ResultRevoked, auth.ResultUnread, auth.ResultUnavailable} {
		o.Authenticated()(r)
	}
	r := o.Redis()
	r.State(true)
	r.Recorded(true)
	r.Recorded(false)
	r.Roles(1, 2)
	r.RTT(time.Millisecond)
	r.Links(1, 2)
	r.Probe(time.Millisecond)
	for _, reason := range []string{"payload", "policy", "prefix", "overload"} {
		r.Rejected(reason)
	}
	for _, reason := range []redisbus.LinkLoss{redisbus.LinkDeaf, redisbus.LinkBroken, redisbus.LinkMoved} {
		r.Lost(reason)
	}
	for _, scope := range []string{"user", "token", "channel"} {
		o.Revocation().Heard(scope)
	}
	for _, what := range []string{"connection", "channel", "unread"} {
		o.Revocation().Taken(what)
	}
	o.Webhook().Cached()
	for _, r := range find("gateway.webhook.questions").Values[1:] {
		o.Webhook().Asked(webhook.Result(r), time.Millisecond)
	}
	families := scrape(t, o)
	for i := range Metrics {
		m := &Metrics[i]
		f := families[m.Series()]
		if f == nil {
			t.Errorf("there is no %s", m.Series())
			continue
		}
		if m.Name == "gateway.build.info" {
			continue // TestRecordBuild looks at its labels
		}
		for value, n := range labelled(t, f, m.Label) {
			switch {
			case value == other:
				t.Errorf("%s has values that it does not list", m.Series())
			case n == 0 && !m.read:
				t.Errorf("%s{%q} did not move", m.Series(), value)
			}
		}
	}
	if got := labelled(t, families["gateway_events_dropped_total"], "reason")["full"]; got != 2 {
		t.Errorf("2 dropped events count as %v", got)
	}
}

// What a label's set does not have is counted, and adds one series at most.
func TestUnknownValuesAreOther(t *testing.T) {
	o := newTelemetry(t)
	for _, reason := range []string{"project:42:tasks", "alice"} {
		o.Streams().Closed(reason, time.Second)
	}
	got := labelled(t, scrape(t, o)["gateway_streams_closed_total"], "reason")
	if got[other] != 2 || len(got) != len(find("gateway.streams.closed").Values)+1 {
		t.Errorf("counted %v", got)
	}
}
