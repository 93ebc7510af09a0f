package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Telemetry holds the instruments. Safe for concurrent use.
type Telemetry struct {
	*instruments
	provider *sdkmetric.MeterProvider
	handler  http.Handler
	meter    metric.Meter
	traces   *sdktrace.TracerProvider // nil where nothing is traced, as are those that follow
	tracer   trace.Tracer
	fanOuts  *fanOuts
}

// Options describe the process.
type Options struct {
	Version string
	Replica string       // its name, among the others
	Logger  *slog.Logger // if nil, slog.Default()
}

// New makes the instruments. It reads the standard variables of OpenTelemetry
// from the environment; the error is a *SettingError where one of them asks for
// what cannot be done. Where they name a collector it starts goroutines, which
// Shutdown ends.
func New(o Options) (*Telemetry, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	ctx := context.Background() // of no use: nothing connects yet
	r, err := described(ctx, o)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	t := &Telemetry{handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{})}
	if t.traces, err = traceSender(ctx, r, o.Logger); err != nil {
		return nil, err
	}
	sender, err := metricSender(ctx, o.Logger)
	if err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	readers := []sdkmetric.Option{sdkmetric.WithResource(r), sdkmetric.WithReader(exporter)}
	if sender != nil {
		readers = append(readers, sdkmetric.WithReader(sender))
	}
	t.provider = sdkmetric.NewMeterProvider(readers...)
	t.meter = t.provider.Meter(scope, metric.WithInstrumentationVersion(o.Version))
	if t.traces != nil {
		t.tracer = t.traces.Tracer(scope, trace.WithInstrumentationVersion(o.Version))
		t.fanOuts = newFanOuts(t.tracer)
	}
	if t.instruments, err = newInstruments(t.meter); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	return t, nil
}

// Tracer makes spans; nil where nothing is traced.
func (t *Telemetry) Tracer() trace.Tracer { return t.tracer }

// scope names who measures and traces.
const scope = "realtime-gateway"

// Handler serves the metrics.
func (t *Telemetry) Handler() http.Handler { return t.handler }

// Shutdown sends what has not been sent and ends all, until ctx ends. The error
// says what was not sent.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var metrics, traces error
	var ends sync.WaitGroup
	if t.provider != nil {
		ends.Go(func() { metrics = t.provider.Shutdown(ctx) })
	}
	if t.traces != nil {
		ends.Go(func() {
			if t.fanOuts != nil {
				t.fanOuts.close()
			}
			traces = t.traces.Shutdown(ctx)
		})
	}
	ends.Wait()
	return errors.Join(metrics, traces)
}

// Sources are what gauges are read from when metrics are collected. All must be
// set and be safe for concurrent use.
type Sources struct {
	Connections     func() int                      // open streams and polls
	LoopConnections func() int                      // of these, those that loops write to
	Subscriptions   func() int                      // of all connections
	Channels        func() int                      // that are subscribed to
	Lag             func() (most int64, behind int) // of subscriptions
	LogBytes        func() int64                    // in the channels' logs
	Ready           func() bool                     // whether newcomers are welcome
}

// Observe adds the gauges of sources. The error is that of OpenTelemetry about
// the instruments.
func (t *Telemetry) Observe(s Sources) error {
	return observe(t.meter, []string{
		"gateway.connections", "gateway.connections.loop", "gateway.subscriptions", "gateway.channels",
		"gateway.buffer.lag", "gateway.subscriptions.behind", "gateway.log.bytes", "gateway.ready",
	}, func() []int64 {
		most, behind := s.Lag()
		ready := int64(0)
		if s.Ready() {
			ready = 1
		}
		return []int64{
			int64(s.Connections()), int64(s.LoopConnections()), int64(s.Subscriptions()), int64(s.Channels()),
			most, int64(behind), s.LogBytes(), ready,
		}
	})
}

// ObserveCertificate adds the gauge of when the TLS certificate expires, read
// like those of Observe.
func (t *Telemetry) ObserveCertificate(expires func() time.Time) error {
	return observe(t.meter, []string{"gateway.tls.certificate.expiry"}, func() []int64 { return []int64{expires().Unix()} })
}
