package telemetry

import (
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// RecordBuild sets gateway_build_info, which is always 1 and says by its labels
// what this replica was built from. To be called once, so that there is one
// value of each label. The error is that of OpenTelemetry about the instrument.
func (t *Telemetry) RecordBuild(version, commit, goVersion string) error {
	info, err := t.meter.Int64Gauge("gateway.build.info", metric.WithDescription(find("gateway.build.info").Help))
	if err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	info.Record(background, 1, metric.WithAttributes(
		attribute.String("version", version), attribute.String("commit", commit), attribute.String("go_version", goVersion)))
	return nil
}
