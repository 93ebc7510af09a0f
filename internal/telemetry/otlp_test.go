package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
	"realtime-gateway/test/integration/harness"
)

// environment sets these standard variables and no others.
func environment(t *testing.T, pairs ...string) {
	t.Helper()
	for _, name := range []string{
		"OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
		"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_METRICS_EXPORTER", "OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG",
		"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME",
	} {
		t.Setenv(name, "")
	}
	for i := 0; i < len(pairs); i += 2 {
		t.Setenv(pairs[i], pairs[i+1])
	}
}

func collector(t *testing.T) *harness.Collector {
	t.Helper()
	c, err := harness.NewCollector()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Without the standard variables nothing is sent, and nothing traced.
func TestNothingIsSentByDefault(t *testing.T) {
	environment(t)
	o := newTelemetry(t)
	if o.Tracer() != nil || o.Channels().FanOut != nil || o.Channels().Replaying != nil || o.Streams().Sent != nil {
		t.Error("something is traced")
	}
	if err := o.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// What was counted until the end is at the collector when Shutdown is over.
func TestMetricsAreSent(t *testing.T) {
	c := collector(t)
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT", c.URL(), "OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	o, err := New(Options{Version: "1.2.3", Replica: "replica-7"})
	if err != nil {
		t.Fatal(err)
	}
	hooks := o.Channels()
	for range 5 {
		hooks.EventIn()
	}
	hooks.Gap(channels.GapLost)
	o.Streams().Delivered(time.Millisecond)
	if err := o.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"gateway.events.in": 5, "gateway.gaps": 1, "gateway.delivery.latency": 1, "gateway.limited": 0} {
		if got, ok := c.Metric(name); !ok || got != want {
			t.Errorf("%s is %v, %v; want %v", name, got, ok, want)
		}
	}
	from := c.Resource()
	for key, want := range map[string]string{
		"service.name": "realtime-gateway", "service.version": "1.2.3", "service.instance.id": "replica-7", "deployment.environment": "test",
	} {
		if from[key] != want {
			t.Errorf("%s is %q, want %q", key, from[key], want)
		}
	}
}

// One signal can be sent without the other.
func TestOneSignalIsSent(t *testing.T) {
	c := collector(t)
	for _, row := range []struct {
		pairs           []string
		metrics, traces bool
	}{
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT", c.URL()}, true, true},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT", c.URL(), "OTEL_SDK_DISABLED", "true"}, false, false},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT", c.URL(), "OTEL_TRACES_EXPORTER", "none"}, true, false},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT", c.URL(), "OTEL_METRICS_EXPORTER", "none", "OTEL_TRACES_EXPORTER", "otlp"}, false, true},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", c.URL() + "/v1/traces"}, false, true},
		{[]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", c.URL() + "/v1/metrics"}, true, false},
	} {
		environment(t, row.pairs...)
		metrics, err := exports("METRICS")
		traces, err2 := exports("TRACES")
		if err != nil || err2 != nil || metrics != row.metrics || traces != row.traces {
			t.Errorf("%v: %v, %v, %v, %v", row.pairs, metrics, traces, err, err2)
		}
	}
}

// What cannot be done is said, without what may be a secret.
func TestWrongVariables(t *testing.T) {
	for _, row := range []struct{ variable, value, want string }{
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", `OTEL_EXPORTER_OTLP_PROTOCOL is "grpc", allowed is http/protobuf`},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "user:secret@collector:4317", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is no URL"},
		{"OTEL_METRICS_EXPORTER", "prometheus", "OTEL_METRICS_EXPORTER asks for another exporter, allowed are otlp and none"},
		{"OTEL_TRACES_SAMPLER", "sometimes", `OTEL_TRACES_SAMPLER is "sometimes", allowed are always_on, `},
		{"OTEL_TRACES_SAMPLER_ARG", "1.5", `OTEL_TRACES_SAMPLER_ARG is "1.5", allowed is a number from 0 to 1`},
		{"OTEL_TRACES_SAMPLER_ARG", "NaN", `OTEL_TRACES_SAMPLER_ARG is "NaN"`},
		{"OTEL_EXPORTER_OTLP_HEADERS", "secret", "OTEL_EXPORTER_OTLP_HEADERS cannot be read (the value is not shown)"},
		{"OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=b,authorization=secret%zz", "OTEL_EXPORTER_OTLP_METRICS_HEADERS cannot be read"},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "=secret", "OTEL_EXPORTER_OTLP_TRACES_HEADERS cannot be read"},
		{"OTEL_RESOURCE_ATTRIBUTES", "novalue", "OTEL_RESOURCE_ATTRIBUTES cannot be read"},
	} {
		environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER", "traceidratio", row.variable, row.value)
		_, err := New(Options{})
		if checked := Check(); checked == nil || err == nil || checked.Error() != err.Error() {
			t.Errorf("%s=%s: a check says %v, the start %v", row.variable, row.value, checked, err)
		}
		var wrong *SettingError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s=%s: %v, want %s", row.variable, row.value, err, row.want)
		}
	}
}

// A collector that is away is logged, and keeps nobody from leaving.
func TestACollectorThatIsAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // accepts nothing, answers nothing
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	o, err := New(Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := o.Shutdown(ctx); err == nil {
		t.Error("all was sent")
	}
}

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
)

func payload(parent string) string { return `{"type":"x","traceparent":"` + parent + `"}` }

// An event that carries a sampled trace makes a span, from the log until it has
// reached everybody. Others make none.
func TestFanOuts(t *testing.T) {
	c := collector(t)
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT", c.URL(), "OTEL_METRICS_EXPORTER", "none")
	o, err := New(Options{Replica: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	begin, sent := o.Channels().FanOut, o.Streams().Sent
	at := func(n uint64) channels.Position { return channels.Position{Millis: 1000, Seq: n} }
	event := func(n uint64, payload string) *channels.Event {
		return &channels.Event{Position: at(n), Payload: payload}
	}
	sampled := "00-" + traceID + "-" + spanID + "-01"

	begin("a", event(1, payload(sampled)), 3)
	sent("b", channels.Position{}, at(9), 3) // another channel
	sent("a", channels.Position{}, at(0), 3) // what came before it
	sent("a", at(1), at(2), 3)               // and after
	sent("a", at(0), at(1), 1)
	if o.fanOuts.open.Load() != 1 {
		t.Fatal("it ended before all had it")
	}
	sent("a", at(0), at(2), 2)
	if o.fanOuts.open.Load() != 0 {
		t.Fatal("it did not end when all had it")
	}
	begin("a", event(2, payload(sampled)), 0) // nobody is there
	begin("a", event(3, payload(sampled)), 2) // and here somebody never reads
	for _, nothing := range []string{
		"text", `{"type":"x"}`, payload("00-" + traceID + "-" + spanID + "-00"), payload("garbage"), `"traceparent"`,
		`{"data":{"traceparent":"` + sampled + `"}}`, `{"traceparent":1}`, `{"traceparent":`, `["traceparent"]`,
	} {
		begin("a", event(4, nothing), 1)
	}
	if n := o.fanOuts.open.Load(); n != 1 {
		t.Errorf("%d spans are open, want 1", n)
	}
	if err := o.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := c.Spans("")
	if len(spans) != 3 {
		t.Fatalf("received %d spans: %+v", len(spans), spans)
	}
	byEvent := make(map[string]harness.Span)
	for _, s := range spans {
		byEvent[s.Attributes["messaging.message.id"]] = s
		if s.Name != "fan-out" || s.TraceID != traceID || s.ParentID != spanID || len(s.Links) != 1 || s.Links[0] != traceID+"/"+spanID ||
			s.Resource["service.instance.id"] != "r1" || s.Attributes["messaging.destination.name"] != "a" {
			t.Errorf("received %+v", s)
		}
	}
	if s := byEvent["1000-1"]; s.Attributes["gateway.reached"] != "3" || !s.End.After(s.Begin) {
		t.Errorf("reached all with %+v", s)
	}
	if s := byEvent["1000-3"]; s.Attributes["gateway.reached"] != "0" || !s.End.Equal(s.Begin) {
		t.Errorf("reached nobody with %+v", s)
	}
}

// A read of history is nobody's child, so it is traced where a sampler says so.
func TestReplays(t *testing.T) {
	c := collector(t)
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT", c.URL(), "OTEL_METRICS_EXPORTER", "none")
	for _, sampler := range []string{"", "always_on"} {
		t.Setenv("OTEL_TRACES_SAMPLER", sampler)
		o, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		replaying := o.Channels().Replaying
		replaying("a")(5, nil)
		replaying("b")(0, errors.New("away"))
		if err := o.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if sampler == "" && len(c.Spans("")) > 0 {
			t.Errorf("received %+v", c.Spans(""))
		}
	}
	spans := c.Spans("")
	if len(spans) != 2 || spans[0].Name != "replay" || spans[0].ParentID != "" || spans[0].Attributes["messaging.batch.message_count"] != "5" ||
		spans[0].Failed || !spans[1].Failed {
		t.Errorf("received %+v", spans)
	}
}

// No more fan-outs are followed than memory is meant for.
func TestFanOutsAreBounded(t *testing.T) {
	c := collector(t)
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT", c.URL(), "OTEL_METRICS_EXPORTER", "none")
	o, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	begin := o.Channels().FanOut
	for n := range uint64(maxFanOuts + 10) {
		begin("a", &channels.Event{Position: channels.Position{Millis: 1, Seq: n}, Payload: payload("00-" + traceID + "-" + spanID + "-01")}, 1)
	}
	if n := o.fanOuts.open.Load(); n != maxFanOuts {
		t.Errorf("%d are followed", n)
	}
	if err := o.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(o.fanOuts.of); n != 0 {
		t.Errorf("%d channels are left behind", n)
	}
}

// A publisher without tracing costs nothing, and one with it little.
func BenchmarkFanOutOfUntraced(b *testing.B) {
	f := newFanOuts(nil)
	e := &channels.Event{Payload: strings.Repeat(`{"type":"x","data":"y"}`, 10)}
	for b.Loop() {
		f.begin("a", e, 1)
		f.sent("a", channels.Position{}, e.Position, 1)
	}
}
