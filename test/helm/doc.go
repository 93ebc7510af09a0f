// Package helm tests the chart in helm/ with the real Helm: what it renders,
// what it refuses, and that all it names exists in the gateway.
//
// It is a module of its own, so that the types of Kubernetes, of the Gateway
// API and of the Prometheus operator are no dependencies of the gateway. go.mod
// has those of the newest Kubernetes that the chart is tested with, oldest.mod
// those of the oldest that it takes.
package helm
