// Package deploy_test checks what the gateway is delivered and run with: the
// Dockerfile and deploy/compose. It is a module of its own, so that the
// libraries of Docker and Compose are no business of who builds the gateway.
package deploy_test
