// Package tlsfiles keeps a server's certificate as two files say it, which may
// change while the server runs.
//
// The contents are compared, not names or times: Kubernetes replaces a symbolic
// link above the files, and certbot one at each. A pair that cannot be used is
// logged once and leaves the last good one in place. Connections that are open
// keep the certificate they began with.
package tlsfiles
