package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync/atomic"
)

// handler is what an ingress would serve under one name: the page, the
// example's service, and the gateways, so that cookies and origins need no
// thought.
func (s *system) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", proxy(s.balanced()))
	mux.Handle("/api/", proxy(s.service()))
	mux.Handle("/gateway/", proxy(s.service())) // where the gateway asks about rights
	for prefix, dir := range map[string]string{
		"/client/":  "web/client/dist",
		"/shared/":  "examples/shared/web",
		"/modules/": "examples/node_modules",
		"/":         "examples/" + s.name + "/web",
	} {
		files := http.FileServer(http.Dir(filepath.Join(s.root, filepath.FromSlash(dir))))
		mux.Handle(prefix, http.StripPrefix(prefix[:len(prefix)-1], fresh(files)))
	}
	return mux
}

// fresh has browsers ask each time, so that who edits an example sees it.
func fresh(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}

// proxy passes requests on, as they are.
func proxy(to http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Transport: to,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "behind"})
			r.SetXForwarded()
			r.Out.Host = r.In.Host // by which cookies are judged
		},
		FlushInterval: -1,
	}
}

// service reaches the example's service.
func (s *system) service() http.RoundTripper {
	return transport(func(ctx context.Context, d *net.Dialer) (net.Conn, error) {
		return d.DialContext(ctx, "unix", s.socket())
	})
}

// balanced reaches the first gateway that answers, beginning with another one each
// time.
func (s *system) balanced() http.RoundTripper {
	var next atomic.Uint32
	return transport(func(ctx context.Context, d *net.Dialer) (net.Conn, error) {
		var failed []error
		start := int(next.Add(1))
		for i := range s.gateways {
			conn, err := d.DialContext(ctx, "tcp", s.gateways[(start+i)%len(s.gateways)].addr)
			if err == nil {
				return conn, nil
			}
			failed = append(failed, err)
		}
		return nil, errors.Join(failed...)
	})
}

// transport keeps no connections: one that is kept could be to a gateway that
// has ended.
func transport(dial func(context.Context, *net.Dialer) (net.Conn, error)) http.RoundTripper {
	return &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, &net.Dialer{}) },
		DisableKeepAlives: true, DisableCompression: true,
	}
}
