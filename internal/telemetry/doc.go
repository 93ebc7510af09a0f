// Package telemetry turns the hooks of the other packages into OpenTelemetry
// metrics and traces. Metrics are served in Prometheus' text format, and both
// are sent by OTLP where the standard variables OTEL_EXPORTER_OTLP_… name a
// collector. It also holds what logs need of both: see LogHandler.
//
// Every metric is described once, in metrics.go; docs/metrics.md is made of
// that. Labels come from closed sets only, never a channel's or a user's name,
// and every series of a counter is there from the start, with 0: an alert on a
// rate must see the first count. A histogram begins with its first value.
//
// The hooks are safe for concurrent use, and cheap: none allocates, waits or
// does I/O. What is sent is collected and sent by goroutines of the SDK, which
// Shutdown ends.
package telemetry
