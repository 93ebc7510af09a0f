package harness

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	metricsservice "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	traceservice "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"
)

// Collector receives OTLP over HTTP in protobuf, as any OpenTelemetry collector
// does, and keeps it to be looked at. Safe for concurrent use.
type Collector struct {
	server   http.Server
	listener net.Listener

	mu      sync.Mutex
	spans   []Span
	metrics map[string]float64
	from    map[string]string // of the last metrics
	wrong   []error
}

// Span is a span as it was received. IDs are hexadecimal.
type Span struct {
	Name, TraceID, SpanID, ParentID string
	Links                           []string          // TRACE/SPAN
	Attributes, Resource            map[string]string // all values as text
	Failed                          bool
	Begin, End                      time.Time
}

// NewCollector starts one on a free port.
func NewCollector() (*Collector, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &Collector{listener: l, metrics: make(map[string]float64)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		var m traceservice.ExportTraceServiceRequest
		c.receive(w, r, &m, func() { c.addSpans(&m) })
	})
	mux.HandleFunc("POST /v1/metrics", func(w http.ResponseWriter, r *http.Request) {
		var m metricsservice.ExportMetricsServiceRequest
		c.receive(w, r, &m, func() { c.addMetrics(&m) })
	})
	c.server.Handler = mux
	go func() { _ = c.server.Serve(l) }() // ends with Close
	return c, nil
}

// URL is what OTEL_EXPORTER_OTLP_ENDPOINT has to be.
func (c *Collector) URL() string { return "http://" + c.listener.Addr().String() }

// Close ends it. The error is what it received and could not read.
func (c *Collector) Close() error {
	_ = c.server.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wrong) > 0 {
		return c.wrong[0]
	}
	return nil
}

// Spans returns the spans of a trace that were received, or all for "".
func (c *Collector) Spans(traceID string) []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Span
	for _, s := range c.spans {
		if traceID == "" || s.TraceID == traceID {
			out = append(out, s)
		}
	}
	return out
}

// Metric returns the last value of a metric: the sum of its series, of a
// histogram the number of values.
func (c *Collector) Metric(name string) (value float64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	value, ok = c.metrics[name]
	return value, ok
}

// Resource returns who sent the last metrics.
func (c *Collector) Resource() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.from
}

func (c *Collector) receive(w http.ResponseWriter, r *http.Request, m proto.Message, add func()) {
	body, err := io.ReadAll(r.Body)
	if kind := r.Header.Get("Content-Type"); err == nil && kind != "application/x-protobuf" {
		err = fmt.Errorf("content type %q", kind)
	}
	if err == nil {
		err = proto.Unmarshal(body, m)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.wrong = append(c.wrong, fmt.Errorf("%s: %w", r.URL.Path, err))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	add()
	w.Header().Set("Content-Type", "application/x-protobuf") // an empty message is all that is to say
}

func (c *Collector) addSpans(m *traceservice.ExportTraceServiceRequest) {
	for _, r := range m.ResourceSpans {
		for _, s := range r.ScopeSpans {
			for _, span := range s.Spans {
				out := Span{
					Name: span.Name, TraceID: hex.EncodeToString(span.TraceId), SpanID: hex.EncodeToString(span.SpanId),
					ParentID: hex.EncodeToString(span.ParentSpanId), Attributes: texts(span.Attributes), Resource: texts(r.Resource.Attributes),
					Failed: span.Status.GetCode() == 2,
					Begin:  time.Unix(0, int64(span.StartTimeUnixNano)), End: time.Unix(0, int64(span.EndTimeUnixNano)),
				}
				for _, l := range span.Links {
					out.Links = append(out.Links, hex.EncodeToString(l.TraceId)+"/"+hex.EncodeToString(l.SpanId))
				}
				c.spans = append(c.spans, out)
			}
		}
	}
}

func (c *Collector) addMetrics(m *metricsservice.ExportMetricsServiceRequest) {
	for _, r := range m.ResourceMetrics {
		c.from = texts(r.Resource.Attributes)
		for _, s := range r.ScopeMetrics {
			for _, one := range s.Metrics {
				c.metrics[one.Name] = total(one)
			}
		}
	}
}

func total(m *metrics.Metric) (n float64) {
	number := func(points []*metrics.NumberDataPoint) {
		for _, p := range points {
			n += p.GetAsDouble() + float64(p.GetAsInt())
		}
	}
	number(m.GetSum().GetDataPoints())
	number(m.GetGauge().GetDataPoints())
	for _, p := range m.GetHistogram().GetDataPoints() {
		n += float64(p.Count)
	}
	return n
}

func texts(attributes []*common.KeyValue) map[string]string {
	out := make(map[string]string, len(attributes))
	for _, a := range attributes {
		switch v := a.Value.GetValue().(type) {
		case *common.AnyValue_StringValue:
			out[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			out[a.Key] = fmt.Sprint(v.IntValue)
		default:
			out[a.Key] = a.Value.String()
		}
	}
	return out
}
