// Package deploy_test checks what the gateway is delivered, run and watched
// with: the Dockerfile, deploy/compose, alerts, dashboards and the runbook. It is
// a module of its own, so that the libraries of Docker, Compose and Prometheus
// are no business of who builds the gateway.
package deploy_test
