// Package httpapi is the gateway's HTTP interface: routes, parameters, rights
// and errors. It turns requests into sessions for package sse, which writes
// the streams, and into publishes and reads of history.
//
// It is the only package that knows the router, labstack/echo v4, so that its
// successor is a change of this folder. Streams are written to the server's
// own ResponseWriter, because echo's hides flush errors; no middleware that
// buffers, compresses or times requests may stand in front of them.
package httpapi
