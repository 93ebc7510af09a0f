package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"
)

// SettingError is a standard variable that asks for what cannot be done. Its
// text is one line, without the variable's value where that may hold a secret.
type SettingError struct {
	Variable string
	Text     string
}

// Error returns the variable and what is wrong with it.
func (e *SettingError) Error() string { return e.Variable + " " + e.Text }

// exports tells whether a signal, METRICS or TRACES, is to be sent: where the
// standard variables name a collector, and nothing else forbids it. The
// specification would send to localhost without being told; a gateway that was
// told nothing sends nothing.
func exports(signal string) (bool, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	variable, endpoint := either("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	if endpoint == "" {
		return false, nil
	}
	switch name := "OTEL_" + signal + "_EXPORTER"; os.Getenv(name) {
	case "", "otlp":
	case "none":
		return false, nil
	default:
		return false, &SettingError{name, "asks for another exporter, allowed are otlp and none"}
	}
	if u, err := url.Parse(endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return false, &SettingError{variable, "is no URL of a collector, such as http://collector:4318"}
	}
	name, protocol := either("OTEL_EXPORTER_OTLP_"+signal+"_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	if protocol != "" && protocol != "http/protobuf" {
		return false, &SettingError{name, fmt.Sprintf("is %.32q, allowed is http/protobuf, to port 4318 of most collectors", protocol)}
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_" + signal + "_HEADERS"} {
		if err := checkHeaders(name); err != nil {
			return false, err
		}
	}
	return true, nil
}

// checkHeaders checks the headers that a collector is sent. The SDK would log
// those that it cannot read, and what they hold is often a password.
func checkHeaders(variable string) error {
	list := os.Getenv(variable)
	if list == "" {
		return nil
	}
	for header := range strings.SplitSeq(list, ",") {
		name, value, found := strings.Cut(header, "=")
		if _, err := url.PathUnescape(value); err != nil || !found || strings.TrimSpace(name) == "" {
			return &SettingError{variable, "cannot be read (the value is not shown), allowed is NAME=VALUE,NAME=VALUE with percent-encoded values"}
		}
	}
	return nil
}

// Check returns what New would say of the standard variables, and starts
// nothing. Its errors are *SettingError.
func Check() error {
	if _, err := described(context.Background(), Options{}); err != nil {
		return err
	}
	if _, err := exports("METRICS"); err != nil {
		return err
	}
	on, err := exports("TRACES")
	if err != nil || !on {
		return err
	}
	return checkSampler()
}

// either returns the first variable that is set.
func either(first, second string) (name, value string) {
	if v := os.Getenv(first); v != "" {
		return first, v
	}
	return second, os.Getenv(second)
}

// described is who sends: by the standard variables, and else by what the
// process knows of itself.
func described(ctx context.Context, o Options) (*resource.Resource, error) {
	r, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", scope),
			attribute.String("service.version", o.Version),
			attribute.String("service.instance.id", o.Replica),
		),
		resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, &SettingError{"OTEL_RESOURCE_ATTRIBUTES", "cannot be read: " + strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	return r, nil
}

// samplers are those of the specification that the SDK has. It would take another
// name for the one that samples everything.
var samplers = []string{
	"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
}

// checkSampler checks OTEL_TRACES_SAMPLER and its argument.
func checkSampler() error {
	const variable = "OTEL_TRACES_SAMPLER"
	asked := strings.ToLower(os.Getenv(variable))
	if asked == "" {
		return nil
	}
	if !slices.Contains(samplers, asked) {
		return &SettingError{variable, fmt.Sprintf("is %.32q, allowed are %s", asked, strings.Join(samplers, ", "))}
	}
	arg := os.Getenv(variable + "_ARG")
	if !strings.HasSuffix(asked, "traceidratio") || arg == "" {
		return nil
	}
	if share, err := strconv.ParseFloat(arg, 64); err != nil || !(share >= 0 && share <= 1) {
		return &SettingError{variable + "_ARG", fmt.Sprintf("is %.32q, allowed is a number from 0 to 1", arg)}
	}
	return nil
}

// metricSender returns what sends metrics, at the interval of
// OTEL_METRIC_EXPORT_INTERVAL or once a minute; nil where they are not to be.
func metricSender(ctx context.Context, log *slog.Logger) (sdkmetric.Reader, error) {
	on, err := exports("METRICS")
	if err != nil || !on {
		return nil, err
	}
	complain(log)
	exporter, err := otlpmetrichttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	return sdkmetric.NewPeriodicReader(exporter), nil
}

// traceSender returns what makes spans and sends them; nil where they are not to
// be. What is traced is for the publisher to say, unless OTEL_TRACES_SAMPLER
// says otherwise.
func traceSender(ctx context.Context, r *resource.Resource, log *slog.Logger) (*sdktrace.TracerProvider, error) {
	on, err := exports("TRACES")
	if err != nil || !on {
		return nil, err
	}
	if err := checkSampler(); err != nil {
		return nil, err
	}
	complain(log)
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	options := []sdktrace.TracerProviderOption{sdktrace.WithBatcher(exporter), sdktrace.WithResource(r)}
	if os.Getenv("OTEL_TRACES_SAMPLER") == "" {
		options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	}
	return sdktrace.NewTracerProvider(options...), nil
}

// complainEvery is how often it is logged that a collector cannot be reached.
const complainEvery = time.Minute

// complain has the SDK's own trouble logged. It is global there, so the last
// Telemetry that sends anything gets it.
func complain(log *slog.Logger) {
	sometimes := &rate.Sometimes{Interval: complainEvery}
	otel.SetLogger(logr.FromSlogHandler(log.Handler()))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		sometimes.Do(func() { log.Warn("telemetry cannot be sent", "error", err) })
	}))
}
