package harness

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// The client must see what a browser sees: comments and unfinished events are
// no events, and a cut stream has an end.
func TestStreamIsReadLikeABrowserDoes(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "retry: 700\n\nid: %s1\nevent: a\ndata: {\"channel\":\"x\",\"n\":1}\n\n: beat\n\nid: 2\ndata: [\ndata: ]\n\nid: 3\n\nid: 4\nevent: cut\ndata: {}\n", r.Header.Get("Last-Event-ID"))
	}))
	defer server.Close()
	s, err := Open(server.URL, Subscribe{Channels: []string{"x"}, From: "c"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v, err := s.Wait("the end", Deadline, func(v View) bool { return v.Ended })
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Events) != 2 || v.Comments != 1 || fmt.Sprint(v.Retries) != "[700]" || v.Cursor != "3" {
		t.Fatalf("heard %s, retries %v, cursor %q", v, v.Retries, v.Cursor)
	}
	if e := v.Events[0]; e.ID != "c1" || e.Name != "a" || e.Channel != "x" || e.N != 1 {
		t.Errorf("first event %+v", e)
	}
	if e := v.Events[1]; e.ID != "2" || e.Name != "message" || e.Data != "[\n]" {
		t.Errorf("second event %+v", e)
	}
}

func TestRefusalIsKept(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	s, err := Open(server.URL, Subscribe{})
	if err != nil || s.Status != http.StatusNotFound || s.Problem == "" {
		t.Fatalf("%+v, %v", s, err)
	}
	s.Close()
}
