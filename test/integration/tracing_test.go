package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// A trace goes from the publisher to the sockets of each replica, on every way of
// publishing that can carry one, and the metrics arrive at the end.
func TestATraceFromPublisherToDelivery(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"auto", "goroutine"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			collector, err := harness.NewCollector()
			must(t, err)
			t.Cleanup(func() {
				if err := collector.Close(); err != nil {
					t.Error(err)
				}
			})
			f := own(t, setup{flags: []string{"--stream-path", path, "--drain-time", "1s"}, env: []string{
				"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL(), "OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_SERVICE_NAME=edge",
			}})
			ch := channel("members:traced")
			reader := harness.Token{Sub: "alice", Publish: []string{"**"}}
			var streams []*harness.Stream
			for i := range 3 {
				streams = append(streams, open(t, f.url(i), harness.Subscribe{Channels: []string{ch}, Header: http.Header{"Authorization": {"Bearer " + reader.Sign()}}}))
			}

			// Straight to Redis: the member of the payload, which is delivered as it is.
			const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
			traced := fmt.Sprintf(`{"type":"n","traceparent":"00-%s-%s-01","data":{"n":1}}`, trace, parent)
			fcall(t, f, ch, traced)
			// Over HTTP: the header.
			const other = "1af7651916cd43dd8448eb211c80319c"
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, of(f.url(0), ch), strings.NewReader(`{"type":"n","data":{"n":2}}`))
			must(t, err)
			r.Header.Set("Traceparent", "00-"+other+"-"+parent+"-01")
			r.Header.Set("Authorization", "Bearer "+reader.Sign())
			answer, err := harness.Client.Do(r)
			must(t, err)
			body, err := io.ReadAll(answer.Body)
			must(t, err)
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Fatalf("answered %d %s", answer.StatusCode, body)
			}
			// Without a trace.
			fcall(t, f, ch, `{"type":"n","data":{"n":3}}`)
			for _, s := range streams {
				wait(t, s, "three events", func(v harness.View) bool { return len(v.Of(ch)) == 3 })
			}
			var event struct{ Traceparent string }
			must(t, json.Unmarshal([]byte(streams[0].Now().Of(ch)[0].Data), &event))
			if !strings.Contains(traced, event.Traceparent) || event.Traceparent == "" {
				t.Errorf("delivered with traceparent %q", event.Traceparent)
			}

			straight := fanOuts(t, collector, trace)
			posted := fanOuts(t, collector, other)
			reached := 0
			for _, s := range straight {
				if s.ParentID != parent || len(s.Links) != 1 || s.Links[0] != trace+"/"+parent || s.Resource["service.name"] != "edge" {
					t.Errorf("received %+v", s)
				}
				if s.Attributes["messaging.destination.name"] != ch || s.Attributes["gateway.reached"] != s.Attributes["gateway.subscriptions"] {
					t.Errorf("received %+v", s)
				}
				var n int
				_, err := fmt.Sscan(s.Attributes["gateway.reached"], &n)
				must(t, err)
				reached += n
			}
			if reached != len(streams) {
				t.Errorf("the event reached %d connections, want %d", reached, len(streams))
			}
			publish := named(collector.Spans(other), "publish")
			if len(publish) != 1 || publish[0].ParentID != parent || publish[0].Failed {
				t.Fatalf("publish was %+v", publish)
			}
			for _, s := range posted {
				if s.ParentID != publish[0].SpanID || len(s.Links) != 1 || s.Links[0] != other+"/"+publish[0].SpanID {
					t.Errorf("received %+v", s)
				}
			}
			// Nothing else was sampled, and no connection has a span.
			for _, s := range collector.Spans("") {
				if s.TraceID != trace && s.TraceID != other {
					t.Errorf("also received %+v", s)
				}
			}

			for _, g := range f.replicas {
				code, err := g.Process().Terminate()
				must(t, err)
				if code != 0 {
					t.Errorf("exit code %d", code)
				}
			}
			if n, ok := collector.Metric("gateway.events.out"); !ok || n == 0 {
				t.Errorf("gateway.events.out is %v, %v at the end", n, ok)
			}
		})
	}
}

// fanOuts waits for a trace's fan-outs on both replicas.
func fanOuts(t *testing.T, c *harness.Collector, trace string) (spans []harness.Span) {
	t.Helper()
	must(t, harness.Until("the fan-outs are at the collector", harness.Deadline, func() error {
		if spans = named(c.Spans(trace), "fan-out"); len(spans) < 2 {
			return fmt.Errorf("%d are", len(spans))
		}
		if len(spans) > 2 {
			return errors.New("there are too many")
		}
		return nil
	}))
	return spans
}

func named(spans []harness.Span, name string) (out []harness.Span) {
	for _, s := range spans {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

// A leaving replica does not fail for a collector that is away.
func TestACollectorThatIsAwayKeepsNobody(t *testing.T) {
	t.Parallel()
	nobody, err := harness.FreeAddr()
	must(t, err)
	f := own(t, setup{replicas: 1, env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + nobody}})
	code, err := f.replicas[0].Process().Terminate()
	must(t, err)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(f.replicas[0].Log.String(), "the last telemetry could not be sent") {
		t.Error("nobody is told")
	}
}
