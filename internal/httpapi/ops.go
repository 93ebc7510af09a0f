package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"realtime-gateway/internal/origin"
	"realtime-gateway/internal/readiness"
	"realtime-gateway/pkg/sse"
)

// OpsOptions configure the operators' interface.
type OpsOptions struct {
	// Ready judges whether newcomers are to come to this replica.
	Ready   func() readiness.Report
	Metrics http.Handler
	// Connections lists open connections of this replica, those of a user and of
	// a channel where these are named; see sse.Handler.List.
	Connections func(ctx context.Context, user, channel string, limit int) (list []sse.Info, total int, err error)
	LogLevel    LogLevel // nil for none that could be changed
	Pprof       bool
	// Dev has it answer by the names of loopback only: else a site could point a
	// name of its own there, and its pages would read the answers.
	Dev bool
}

// NewOps returns the handler of the operations address: /healthz, /readyz,
// /metrics, /v1/connections, /loglevel and, where asked for, /debug/pprof.
func NewOps(o OpsOptions) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusOK, map[string]any{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { readyz(w, o.Ready()) })
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /v1/connections", func(w http.ResponseWriter, r *http.Request) { connections(w, r, o) })
	if o.LogLevel != nil {
		mux.HandleFunc("GET /loglevel", logLevel(o.LogLevel))
		mux.HandleFunc("PUT /loglevel", logLevel(o.LogLevel))
	}
	if o.Pprof {
		// Without pprof.Cmdline: flags may hold secrets, and no tool needs it.
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	if o.Dev {
		return secure(byLoopbackName(mux))
	}
	return secure(mux)
}

// readyz answers 503 where newcomers are better off elsewhere, and says of each
// part what is wrong, and since when.
func readyz(w http.ResponseWriter, r readiness.Report) {
	answer := struct {
		Status readiness.Status     `json:"status"`
		Reason string               `json:"reason,omitempty"`
		Parts  map[string]string    `json:"parts"`
		Since  map[string]time.Time `json:"since,omitempty"`
	}{r.Status, r.Reason, make(map[string]string, len(r.Parts)), make(map[string]time.Time, len(r.Since))}
	for part, err := range r.Parts {
		answer.Parts[part] = "ok"
		if err != nil {
			answer.Parts[part] = err.Error()
		}
	}
	for part, since := range r.Since {
		answer.Since[part] = since.UTC().Truncate(time.Millisecond)
	}
	code := http.StatusOK
	if r.Status == readiness.NotReady {
		code = http.StatusServiceUnavailable
	}
	writeStatus(w, code, answer)
}

func byLoopbackName(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !origin.IsLoopback(r.Host) {
			writeStatus(w, http.StatusForbidden, notLoopback(r))
			return
		}
		h.ServeHTTP(w, r)
	})
}

const (
	defaultConnections = 100
	maxConnections     = 10_000
	// listTimeout is how long a list may wait for the loops.
	listTimeout = 5 * time.Second
)

// connections serves GET /v1/connections?user=…&channel=…&limit=….
func connections(w http.ResponseWriter, r *http.Request, o OpsOptions) {
	q := r.URL.Query()
	for name := range q {
		if name != "user" && name != "channel" && name != "limit" { // or the list would be another than was asked for
			writeStatus(w, http.StatusBadRequest, malformed("there is no parameter "+quote(name)+", allowed are user, channel and limit"))
			return
		}
	}
	limit := defaultConnections
	if text := q.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 0 || limit > maxConnections {
			writeStatus(w, http.StatusBadRequest, malformed("limit is "+quote(text)+", allowed is a whole number from 0 to "+strconv.Itoa(maxConnections)))
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), listTimeout)
	defer cancel()
	list, total, err := o.Connections(ctx, q.Get("user"), q.Get("channel"), limit)
	if err != nil {
		writeStatus(w, http.StatusServiceUnavailable, temporary("the streams were not listed in time"))
		return
	}
	if list == nil {
		list = []sse.Info{}
	}
	writeStatus(w, http.StatusOK, map[string]any{"total": total, "connections": list})
}

func writeStatus(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
