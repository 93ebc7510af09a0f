package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// Telemetry holds the instruments. Safe for concurrent use.
type Telemetry struct {
	*instruments
	provider *sdkmetric.MeterProvider
	handler  http.Handler
	meter    metric.Meter
}

// New makes the instruments.
func New(version string) (*Telemetry, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	t := &Telemetry{
		provider: provider,
		handler:  promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		meter:    provider.Meter(scope, metric.WithInstrumentationVersion(version)),
	}
	t.instruments, err = newInstruments(t.meter)
	return t, err
}

// scope names who measures and traces.
const scope = "realtime-gateway"

// Handler serves the metrics.
func (t *Telemetry) Handler() http.Handler { return t.handler }

// Shutdown flushes and ends the metrics.
func (t *Telemetry) Shutdown(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// Sources are what gauges are read from when metrics are collected. All must be
// set and be safe for concurrent use.
type Sources struct {
	Connections     func() int                      // open streams and polls
	LoopConnections func() int                      // of these, those that loops write to
	Subscriptions   func() int                      // of all connections
	Channels        func() int                      // that are subscribed to
	Lag             func() (most int64, behind int) // of subscriptions
	LogBytes        func() int64                    // in the channels' logs
}

// Observe adds the gauges of sources. The error is that of OpenTelemetry about
// the instruments.
func (t *Telemetry) Observe(s Sources) error {
	return observe(t.meter, []string{
		"gateway.connections", "gateway.connections.loop", "gateway.subscriptions", "gateway.channels",
		"gateway.buffer.lag", "gateway.subscriptions.behind", "gateway.log.bytes",
	}, func() []int64 {
		most, behind := s.Lag()
		return []int64{
			int64(s.Connections()), int64(s.LoopConnections()), int64(s.Subscriptions()), int64(s.Channels()),
			most, int64(behind), s.LogBytes(),
		}
	})
}

// ObserveCertificate adds the gauge of when the TLS certificate expires, read
// like those of Observe.
func (t *Telemetry) ObserveCertificate(expires func() time.Time) error {
	return observe(t.meter, []string{"gateway.tls.certificate.expiry"}, func() []int64 { return []int64{expires().Unix()} })
}
