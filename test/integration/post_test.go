package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"realtime-gateway/test/integration/harness"
)

// A subscription by POST is the same as by GET.
func TestSubscribeByPost(t *testing.T) {
	t.Parallel()
	f := shared(t)
	var chs []string
	for range 100 {
		chs = append(chs, channel("last"))
	}
	count(t, f, chs[0], 1, 5)
	s := open(t, f.url(0), harness.Subscribe{Body: map[string]any{"channel": chs, "lastN": 2}})
	waitNumber(t, s, chs[0], 5)
	wantNumbers(t, s.Now().Of(chs[0]), 4, 5)
	count(t, f, chs[99], 1, 2)
	waitNumber(t, s, chs[99], 2)
	s.Close()
	count(t, f, chs[99], 3, 4)
	again := open(t, f.url(1), harness.Subscribe{Body: map[string]any{"channel": chs, "lastEventId": s.Now().Cursor}})
	waitNumber(t, again, chs[99], 4)
	wantNumbers(t, again.Now().Of(chs[99]), 3, 4)
	if len(again.Now().Of(chs[0])) > 0 {
		t.Error("a replay where nothing was missed")
	}
}

// The second name has every sign that a channel's name may have.
func TestPublishAndHistoryByHTTP(t *testing.T) {
	t.Parallel()
	f := shared(t)
	for _, ch := range []string{channel("hist"), "hist:a/b@c+d=e~f._-:/:" + channel("x")} {
		t.Run(ch, func(t *testing.T) {
			s := open(t, f.url(0), on(ch))
			token := harness.Token{Sub: "service", Publish: []string{"hist:**"}}.Sign()
			for n := 1; n <= 3; n++ {
				a := ask(t, http.MethodPost, of(f.url(n), ch), token, harness.Counted(n))
				if a.status/100 != 2 {
					t.Fatalf("publish: status %d: %s", a.status, a.body)
				}
			}
			position := ""
			for n := 4; n <= 10; n++ {
				if p := fcall(t, f, ch, harness.Counted(n)); n == 5 {
					position = p
				}
			}
			waitNumber(t, s, ch, 10)
			wantNumbers(t, s.Now().Of(ch), 1, 10)

			for _, test := range []struct {
				query       url.Values
				first, last int
			}{
				{url.Values{"after": {position}, "limit": {"3"}}, 6, 8},
				{url.Values{"after": {position}}, 6, 10},
				{url.Values{"after": {"0-0"}, "limit": {"4"}}, 1, 4},
			} {
				a := ask(t, http.MethodGet, of(f.url(1), ch)+"?"+test.query.Encode(), "", "")
				if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
					t.Fatalf("history: status %d, %s: %s", a.status, a.header.Get("Content-Type"), a.body)
				}
				var page polled
				must(t, json.Unmarshal([]byte(a.body), &page))
				wantNumbers(t, page.numbers(t), test.first, test.last)
				for i, e := range page.numbers(t) {
					if live := s.Now().Published(ch)[test.first-1+i]; !equalJSON(t, live.Data, e.Data) {
						t.Errorf("the stream said %s, the history says %s", live.Data, e.Data)
					}
				}
			}
		})
	}
}

func equalJSON(t *testing.T, a, b string) bool {
	t.Helper()
	return fmt.Sprint(object(t, a)) == fmt.Sprint(object(t, b))
}

func TestPublishByHTTPRefused(t *testing.T) {
	t.Parallel()
	f := shared(t)
	ch := channel("hist")
	may := harness.Token{Sub: "service", Publish: []string{"**"}}.Sign()
	for _, test := range []struct {
		name, channel, token, body string
		status                     int
	}{
		{"no token", ch, "", "x", 401},
		{"bad token", ch, "nonsense", "x", 401},
		{"right to subscribe only", ch, harness.Token{Sub: "a", Subscribe: []string{"**"}}.Sign(), "x", 403},
		{"right for another channel", ch, harness.Token{Sub: "a", Publish: []string{"live:**"}}.Sign(), "x", 403},
		{"unknown channel", "unknown:x", may, "x", 403},
		{"malformed channel", "hist::x", may, "x", 400},
		{"malformed channel, encoded", "hist:\r\nx", may, "x", 400},
		{"not UTF-8", ch, may, "\xff", 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantProblem(t, ask(t, http.MethodPost, of(f.url(0), test.channel), test.token, test.body), test.status)
		})
	}
	t.Run("too large", func(t *testing.T) {
		// A server may hang up before it has read so much.
		a, err := tryAsk(t.Context(), http.MethodPost, of(f.url(0), ch), may, strings.Repeat("x", 9<<20))
		if err == nil && a.status != 400 && a.status != 413 {
			t.Errorf("status %d, want 400 or 413: %s", a.status, a.body)
		}
	})
	if n, err := f.db().Exists(t.Context(), "gw:"+ch).Result(); err != nil || n != 0 {
		t.Errorf("a refused publish has written (%d, %v)", n, err)
	}
}

func TestHistoryByHTTPRefused(t *testing.T) {
	t.Parallel()
	f := shared(t)
	for target, status := range map[string]int{
		of(f.url(0), "project:1:tasks"):                 401,
		of(f.url(0), "hist::x"):                         400,
		of(f.url(0), "hist:x") + "?after=nonsense":      400,
		of(f.url(0), "hist:x") + "?limit=-1":            400,
		of(f.url(0), "hist:x") + "?limit=many":          400,
		of(f.url(0), "hist:x") + "?after=1-1&limit=1.5": 400,
	} {
		t.Run(target, func(t *testing.T) { wantProblem(t, ask(t, http.MethodGet, target, "", ""), status) })
	}
	token := harness.Token{Sub: "a", Subscribe: []string{"project:1:tasks"}}.Sign()
	wantProblem(t, ask(t, http.MethodGet, of(f.url(0), "project:2:tasks"), token, ""), 403)
	wantProblem(t, ask(t, http.MethodGet, of(f.url(0), "unknown:x"), token, ""), 403)
}
