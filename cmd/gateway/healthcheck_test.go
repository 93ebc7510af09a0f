package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestHealthcheck(t *testing.T) {
	var dead atomic.Bool
	ops := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" && !dead.Load() {
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"status":"not ready","parts":{"redis":"away"}}`+"\n")
	}))
	defer ops.Close()
	addr := strings.TrimPrefix(ops.URL, "http://")
	_, port, _ := strings.Cut(addr, ":")
	// Proxies and settings of other commands in the environment change nothing.
	env := []string{"GATEWAY_OPS_ADDR=:" + port, "GATEWAY_HEARTBEAT=nonsense", "HTTP_PROXY=http://127.0.0.1:1"}

	execute(t, env, "healthcheck").must(t)
	execute(t, nil, "healthcheck", "--ops-addr", addr).must(t)
	execute(t, nil, "healthcheck", "--ops-addr", "0.0.0.0:"+port).must(t)
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte("opsAddr: "+addr+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	execute(t, []string{"GATEWAY_CONFIG=" + file}, "healthcheck").must(t)

	execute(t, env, "healthcheck", "--ready").wantError(t, exitFailure, `/readyz of :`+port+` is 503: {"status":"not ready","parts":{"redis":"away"}}`)
	dead.Store(true)
	execute(t, env, "healthcheck").wantError(t, exitFailure, "/healthz of :"+port+" is 503")
	ops.Close()
	execute(t, env, "healthcheck").wantError(t, exitFailure, "connection refused")
	execute(t, []string{"GATEWAY_OPS_ADDR=nowhere"}, "healthcheck").wantError(t, exitUsage, "GATEWAY_OPS_ADDR")
}
