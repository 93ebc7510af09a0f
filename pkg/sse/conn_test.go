package sse

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestRequestsKnowTheirConnection(t *testing.T) {
	if c := connOf(context.Background()); c != nil {
		t.Errorf("a connection out of nowhere: %v", c)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := connOf(r.Context()).(*net.TCPConn)
		if !ok || c.RemoteAddr().String() != r.RemoteAddr {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	server.Config.ConnContext = WithConn
	server.Start()
	defer server.Close()
	answer, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Error("the context has not the accepted connection")
	}
	server.Client().CloseIdleConnections()
}
