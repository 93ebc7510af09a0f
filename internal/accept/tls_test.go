package accept

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
)

// A place is that of the connection below TLS: it is given back when a response
// begins, and when a connection is idle or gone.
func TestPlacesBelowTLS(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			end := make(chan struct{})
			s := httptest.NewUnstartedServer(nil)
			l := Pace(s.Listener, nil)
			s.Listener, s.EnableHTTP2 = l, http2
			s.Config.ConnState, s.Config.ConnContext = l.ConnState, l.ConnContext
			s.Config.Handler = l.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/stream" {
					w.WriteHeader(http.StatusOK)
					_ = http.NewResponseController(w).Flush()
					<-end
				}
			}))
			s.StartTLS()
			defer s.Close()
			defer close(end)
			none := func() {
				for n := -1; n != 0; runtime.Gosched() { // until the test's own deadline
					l.mu.Lock()
					n = len(l.taken)
					l.mu.Unlock()
				}
			}
			answer, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			none()
			s.Client().CloseIdleConnections() // so that the next takes a place
			stream, err := s.Client().Get(s.URL + "/stream")
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Body.Close()
			none()
		})
	}
}
