package httpapi

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"realtime-gateway/pkg/channels"
)

func read(t *testing.T, method, target, body string) (*params, error) {
	t.Helper()
	return (&api{Options: Options{MaxChannels: 3}}).params(httptest.NewRequest(method, target, strings.NewReader(body)))
}

func TestParamsOfQueryAndBodyAreTheSame(t *testing.T) {
	query, err := read(t, http.MethodGet, "/v1/events?channel=a&channel=b&channel=a&lastN=5&maxAge=90s&heartbeat=event&mode=poll", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		`{"channel":["a","b"],"lastN":5,"maxAge":"90s","heartbeat":"event","mode":"poll"}`,
		`{"channel":"a","channels":["b"],"lastN":5,"maxAge":90,"heartbeat":"event","mode":"poll"}`,
	} {
		posted, err := read(t, http.MethodPost, "/v1/events", body)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		for _, p := range []*params{query, posted} {
			if !slices.Equal(p.channels, []string{"a", "b"}) || *p.lastN != 5 || *p.maxAge != 90*time.Second || !p.heartbeats || !p.poll {
				t.Errorf("read as %+v", p)
			}
		}
	}
}

func TestTheHeaderWinsOverTheURL(t *testing.T) {
	cursor := func(p channels.Position) string {
		return string(channels.AppendCursor(nil, []channels.Mark{{Hash: channels.HashName("a"), Position: p}}))
	}
	r := httptest.NewRequest(http.MethodGet, "/v1/events?channel=a&lastEventId="+cursor(channels.Position{Millis: 1}), nil)
	r.Header.Set("Last-Event-ID", cursor(channels.Position{Millis: 2}))
	p, err := (&api{Options: Options{MaxChannels: 1}}).params(r)
	if err != nil {
		t.Fatal(err)
	}
	if at, _ := p.cursor.Position("a"); at.Millis != 2 {
		t.Errorf("resumes at %v, want what the header says", at)
	}
}

func TestParamsRefuse(t *testing.T) {
	for _, tt := range []struct{ query, want string }{
		{"", "no channel is named"},
		{"channel=", "channel name"},
		{"channel=a%0Ab", "channel name"},
		{"channel=a&channel=b&channel=c&channel=d", "more than 3 channels"},
		{"channel=a&lastEventId=nonsense", "lastEventId"},
		{"channel=a&lastEventId=1&lastEventId=1", "more than once"},
		{"channel=a&lastN=-1", "lastN is"},
		{"channel=a&lastN=x", "lastN is"},
		{"channel=a&maxAge=soon", "maxAge is"},
		{"channel=a&maxAge=-1s", "maxAge is"},
		{"channel=a&heartbeat=loud", "heartbeat is"},
		{"channel=a&mode=push", "mode is"},
		{"channel=a&lasteventid=1", "did you mean lastEventId?"},
		{"channels=a", "did you mean channel?"},
		{"channel=%zz", "query is malformed"},
	} {
		wantMalformed(t, tt.query, tt.want, func() error { _, err := read(t, http.MethodGet, "/v1/events?"+tt.query, ""); return err })
	}
	for _, tt := range []struct{ body, want string }{
		{"", "JSON object"}, {"[]", "JSON object"}, {`{"channel":1}`, "JSON object"}, {`{"chanel":"a"}`, "unknown field"},
		{`{"channel":"a"}{}`, "nothing behind it"}, {`{"channel":"a","token":"x"}`, "not read from the body"},
		{`{"channel":"a","lastN":1.5}`, "lastN is"},
	} {
		wantMalformed(t, tt.body, tt.want, func() error { _, err := read(t, http.MethodPost, "/v1/events", tt.body); return err })
	}
}

func TestLongBodiesAreRefusedAsTooLong(t *testing.T) {
	for _, body := range []string{
		`{"channel":"` + strings.Repeat("x", maxBody) + `"}`,
		strings.Repeat(" ", maxBody+1) + `{"channel":"a"}`,
	} {
		_, err := read(t, http.MethodPost, "/v1/events", body)
		var p *Problem
		if !errors.As(err, &p) || p.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("%.20s…: %v, want 413", body, err)
		}
	}
}

// A refusal quotes what was sent, but not without end.
func TestRefusalsAreShort(t *testing.T) {
	long := strings.Repeat("ü", 100_000)
	for _, r := range []*http.Request{
		httptest.NewRequest(http.MethodGet, "/v1/events?channel=a&lastN="+url.QueryEscape(long), nil),
		httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(`{"`+long+`":1}`)),
		httptest.NewRequest(http.MethodGet, "/v2/"+url.PathEscape(long), nil),
	} {
		w := httptest.NewRecorder()
		New(Options{}).ServeHTTP(w, r)
		if w.Code/100 != 4 || w.Body.Len() > 2*maxDetail {
			t.Errorf("%.30s: status %d and %d bytes, want 4xx and at most %d", r.URL, w.Code, w.Body.Len(), 2*maxDetail)
		}
	}
}

func wantMalformed(t *testing.T, input, want string, f func() error) {
	t.Helper()
	var p *Problem
	if err := f(); !errors.As(err, &p) || p.Status != http.StatusBadRequest || !strings.Contains(p.Detail, want) {
		t.Errorf("%q: %v, want 400 that says %q", input, err, want)
	}
}

func TestStartOfAFirstConnection(t *testing.T) {
	n := func(n int) *int { return &n }
	d := func(d time.Duration) *time.Duration { return &d }
	for _, tt := range []struct {
		name   string
		policy channels.Policy
		params params
		want   channels.Start
	}{
		{"neither", channels.Policy{}, params{}, channels.Start{}},
		{"the policy gives nothing to ask for", channels.Policy{}, params{lastN: n(5), maxAge: d(time.Hour)}, channels.Start{}},
		{"the policy's number", channels.Policy{LastN: 7}, params{}, channels.Start{LastN: 7}},
		{"fewer", channels.Policy{LastN: 7}, params{lastN: n(3)}, channels.Start{LastN: 3}},
		{"capped", channels.Policy{LastN: 7}, params{lastN: n(70)}, channels.Start{LastN: 7}},
		{"none wanted", channels.Policy{LastN: 7}, params{lastN: n(0)}, channels.Start{}},
		{"the policy's age", channels.Policy{MaxAge: time.Hour}, params{}, channels.Start{LastN: -1, MaxAge: time.Hour}},
		{"younger", channels.Policy{MaxAge: time.Hour}, params{maxAge: d(time.Minute)}, channels.Start{LastN: -1, MaxAge: time.Minute}},
		{"age capped", channels.Policy{MaxAge: time.Hour}, params{maxAge: d(9 * time.Hour)}, channels.Start{LastN: -1, MaxAge: time.Hour}},
		{"age narrows the number", channels.Policy{LastN: 7}, params{maxAge: d(time.Minute)}, channels.Start{LastN: 7, MaxAge: time.Minute}},
		{"no age", channels.Policy{LastN: 7, MaxAge: time.Hour}, params{maxAge: d(0)}, channels.Start{}},
	} {
		if got := tt.params.start("a", &tt.policy); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func FuzzParams(f *testing.F) {
	f.Add("channel=a&lastN=3&maxAge=1m", `{"channel":"a"}`)
	f.Add("channel=a&lastEventId=1", `{"channel":["a"],"lastEventId":"1","maxAge":5}`)
	f.Fuzz(func(t *testing.T, query, body string) {
		a := &api{Options: Options{MaxChannels: 3}}
		for _, r := range []*http.Request{
			{Method: http.MethodGet, URL: &url.URL{Path: "/v1/events", RawQuery: query}, Header: http.Header{}},
			httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(body)),
		} {
			p, err := a.params(r)
			var wrong *Problem
			if err != nil {
				if !errors.As(err, &wrong) || wrong.Status < 400 || wrong.Status > 499 {
					t.Errorf("%q %q: %v, want a problem that is the client's", query, body, err)
				}
				continue
			}
			if len(p.channels) < 1 || len(p.channels) > 3 {
				t.Errorf("%d channels", len(p.channels))
			}
			for _, name := range p.channels {
				if channels.CheckName(name) != nil {
					t.Errorf("channel %q was let through", name)
				}
			}
		}
	})
}
