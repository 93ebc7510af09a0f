package httpapi

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
)

// OpsOptions configure the operators' interface.
type OpsOptions struct {
	// Ready says per part whether this replica can deliver: nil means it can.
	Ready   func() map[string]error
	Metrics http.Handler
	Pprof   bool
}

// NewOps returns the handler of the operations address: /healthz, /readyz,
// /metrics and, where asked for, /debug/pprof.
func NewOps(o OpsOptions) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusOK, map[string]any{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status, code := "ready", http.StatusOK
		parts := make(map[string]string)
		for part, err := range o.Ready() {
			parts[part] = "ok"
			if err != nil {
				parts[part] = err.Error()
				status, code = "not ready", http.StatusServiceUnavailable
			}
		}
		writeStatus(w, code, map[string]any{"status": status, "parts": parts})
	})
	mux.Handle("GET /metrics", o.Metrics)
	if o.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return secure(mux)
}

func writeStatus(w http.ResponseWriter, code int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
