package integration_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"realtime-gateway/test/integration/harness"
)

// The application is asked at every door, about exactly who wants what, and its
// answer is what happens.
func TestApplicationDecides(t *testing.T) {
	t.Parallel()
	app := newApplication(t)
	onBothPaths(t, app.setup(setup{replicas: 1}), func(t *testing.T, f *fixture) {
		nested := map[string]any{"teams": []any{"a", map[string]any{"role": "<ü&\u2028>", "since": json.Number("12345678901234567890")}, nil, true, json.Number("2.50")}}
		user, service := "alice", harness.Token{Claims: map[string]any{"scope": "all"}}.Sign()
		for _, who := range []struct {
			name, token string
			user        *string
			refused     int
		}{
			{"a user", harness.Token{Sub: user, ID: "t1", Claims: nested}.Sign(), &user, 403},
			{"a token of nobody", service, nil, 403},
			{"no token", "", nil, 401},
		} {
			for _, d := range doors {
				for _, allowed := range []bool{true, false} {
					ch := channel("w")
					count(t, f, ch, 1, 1)
					app.answers(ch, denies(60, "not a member"))
					want, entries := who.refused, int64(1)
					if allowed {
						app.answers(ch, allows(60))
						want = 200
						if d.action == "publish" {
							entries++
						}
					}
					got := d.knock(t, f.url(0), ch, who.token)
					what := d.name + " of " + who.name
					if allowed && got.status != want || allowed && d.action == "subscribe" && !strings.Contains(got.body, `"n":1`) {
						t.Errorf("%s is allowed: status %d: %s", what, got.status, got.body)
					}
					if !allowed {
						wantProblem(t, got, want)
						if !strings.Contains(got.body, ": not a member") || strings.Contains(got.body, `"n":1`) {
							t.Errorf("%s is denied: %s", what, got.body)
						}
					}
					if n := f.db().XLen(t.Context(), "gw:"+ch).Val(); n != entries {
						t.Errorf("%s: %d events, want %d", what, n, entries)
					}
					asked := app.about(ch)
					if len(asked) != 1 {
						t.Fatalf("%s: %d questions, want 1", what, len(asked))
					}
					q := asked[0]
					if !reflect.DeepEqual(q.User, who.user) || q.Action != d.action || !sameClaims(t, q.Claims, who.token) {
						t.Errorf("%s: asked %s", what, q.body)
					}
				}
			}
		}

		// Beside a channel of another policy on the same connection.
		ch, public := channel("w"), channel("hist")
		app.answers(ch, allows(60))
		s := open(t, f.url(0), on(ch, public))
		count(t, f, ch, 1, 2)
		count(t, f, public, 1, 2)
		for _, c := range []string{ch, public} {
			waitNumber(t, s, c, 2)
			wantNumbers(t, s.Now().Of(c), 1, 2)
		}
		denied := channel("w")
		app.answers(denied, denies(60, ""))
		wantStatus(t, f.url(0), on(public, denied), 401)
		wantStatus(t, f.url(0), on(public), 200)

		// An application that fails twice is asked the same again.
		flaps := channel("w")
		failures := 0
		app.answers(flaps, func(w http.ResponseWriter, r *http.Request, q question) {
			// One attempt follows the other.
			if failures++; failures <= 2 {
				says(503, "")(w, r, q)
				return
			}
			allows(60)(w, r, q)
		})
		open(t, f.url(0), on(flaps))
		asked := app.about(flaps)
		if len(asked) != 3 || asked[0].id != asked[1].id || asked[1].id != asked[2].id || asked[0].body != asked[2].body {
			t.Errorf("asked %+v, want three times the same", asked)
		}
		wantMoved(t, f.replicas[0], "allow", "deny")
	})
}

// sameClaims tells whether the claims are a token's payload, numbers to the
// last digit; without a token null.
func sameClaims(t *testing.T, claims json.RawMessage, token string) bool {
	t.Helper()
	if token == "" {
		return string(claims) == "null"
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	must(t, err)
	var values [2]any
	for i, text := range [][]byte{claims, payload} {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		must(t, d.Decode(&values[i]))
	}
	return reflect.DeepEqual(values[0], values[1])
}

// Who asks the same at the same time shares one question, and its answer for as
// long as it stands. What is not asked about does not wait meanwhile. Another
// replica asks for itself.
func TestApplicationIsAskedOnce(t *testing.T) {
	t.Parallel()
	app := newApplication(t)
	f := own(t, app.setup(setup{flags: []string{"--webhook-timeout", "30s"}}))
	ch, public, denied := channel("w"), channel("hist"), channel("w")
	release := make(chan struct{})
	app.answers(ch, func(w http.ResponseWriter, r *http.Request, q question) {
		select {
		case <-release:
			allows(600)(w, r, q)
		case <-r.Context().Done():
		}
	})
	app.answers(denied, denies(600, ""))
	alice := harness.Subscribe{Channels: []string{ch}, Header: bearer(harness.Token{Sub: "alice"}.Sign())}
	streams := make([]*harness.Stream, 30)
	errs := make([]error, len(streams))
	var opening sync.WaitGroup
	for i := range streams {
		opening.Go(func() { streams[i], errs[i] = harness.Open(f.url(0), alice) })
	}
	app.waitAsked(t, ch, 1)
	s := open(t, f.url(0), on(public))
	count(t, f, public, 1, 1)
	waitNumber(t, s, public, 1)
	close(release)
	opening.Wait()
	for i, s := range streams {
		must(t, errs[i])
		t.Cleanup(s.Close)
	}
	count(t, f, ch, 1, 1)
	for _, s := range streams {
		waitNumber(t, s, ch, 1)
	}
	if n := len(app.about(ch)); n != 1 {
		t.Errorf("%d questions for %d streams, want 1", n, len(streams))
	}
	token := strings.TrimPrefix(alice.Header.Get("Authorization"), "Bearer ")
	for range 3 {
		if a := ask(t, http.MethodGet, of(f.url(0), ch), token, ""); a.status != 200 {
			t.Errorf("history: status %d: %s", a.status, a.body)
		}
		wantStatus(t, f.url(0), harness.Subscribe{Channels: []string{denied}, Header: alice.Header}, 403)
	}
	if n, no := len(app.about(ch)), len(app.about(denied)); n != 1 || no != 1 {
		t.Errorf("%d and %d questions where the answers are kept, want 1 and 1", n, no)
	}
	wantMetric(t, f.replicas[0], `gateway_webhook_questions_total{result="allow"}`, "1")
	wantMetric(t, f.replicas[0], `gateway_webhook_questions_total{result="deny"}`, "1")
	wantMoved(t, f.replicas[0], "cached")
	for i, next := range []func(){
		func() { open(t, f.url(1), alice) },
		func() {
			open(t, f.url(0), harness.Subscribe{Channels: []string{ch}, Header: bearer(harness.Token{Sub: "bob"}.Sign())})
		},
		func() { open(t, f.url(0), on(ch)) },
		func() { ask(t, http.MethodPost, of(f.url(0), ch), token, "x") },
	} {
		next()
		if n := len(app.about(ch)); n != i+2 {
			t.Errorf("%d questions, want %d: another replica, user, nobody and action are asked about each", n, i+2)
		}
	}
}

// Without an answer nobody gets in, is told to come back, and does when the
// application is there again. Other channels never notice.
func TestApplicationIsAway(t *testing.T) {
	t.Parallel()
	app := newApplication(t)
	f := own(t, app.setup(setup{replicas: 1}))
	elsewhere := noVisitors(t)
	to := func(status int) reply {
		return func(w http.ResponseWriter, r *http.Request, _ question) {
			http.Redirect(w, r, elsewhere, status)
		}
	}
	nobody, err := harness.FreeAddr()
	must(t, err)
	token := harness.Token{Sub: "alice"}.Sign()
	// They have a replica each, as they would open each other's circuit. The
	// first five do open it.
	list := []struct {
		name, at, result string
		answer           reply

		g      *harness.Gateway
		stays  *harness.Stream
		public string
		wanted []string // a channel for each door
	}{
		{name: "hangs", result: "timeout", answer: hangs("")},
		{name: "hangs in its answer", result: "timeout", answer: hangs(`{"allow":true`)},
		{name: "hangs up", result: "network", answer: hangsUp},
		{name: "is gone", result: "network", at: "http://" + nobody},
		{name: "fails", result: "status", answer: says(500, `{"allow":true}`)},
		{name: "broken JSON", result: "answer", answer: says(200, `{"allow":true`)},
		{name: "true in quotes", result: "answer", answer: says(200, `{"allow":"true"}`)},
		{name: "a page", result: "answer", answer: says(200, "<!doctype html><title>Sign in</title>true")},
		{name: "more than one", result: "answer", answer: says(200, `{"allow":true}{"allow":true}`)},
		{name: "without end", result: "answer", answer: neverEnds},
		{name: "redirects", result: "status", answer: to(302)},
		{name: "redirects the POST", result: "status", answer: to(307)},
	}
	for i := range list {
		tt := &list[i]
		if tt.at == "" {
			tt.at = app.URL
		}
		tt.g, err = f.join(f.server().URL(), []string{"--webhook-url", tt.at, "--webhook-timeout", "250ms"}, []string{"GATEWAY_WEBHOOK_SECRET=" + webhookSecret})
		must(t, err)
	}
	ready(t, f)
	for i := range list {
		tt := &list[i]
		base := tt.g.URL()
		tt.public = channel("hist")
		tt.stays = open(t, base, on(tt.public))
		for _, d := range doors {
			ch := channel("w")
			tt.wanted = append(tt.wanted, ch)
			count(t, f, ch, 1, 1)
			app.answers(ch, tt.answer)
			if d.name == "stream" {
				wantUnavailable(t, base, harness.Subscribe{Channels: []string{tt.public, ch}, Header: bearer(token)})
				continue
			}
			got := d.knock(t, base, ch, token)
			wantProblem(t, got, http.StatusServiceUnavailable)
			if seconds, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || seconds < 1 {
				t.Errorf("%s, %s: Retry-After is %q", tt.name, d.name, got.header.Get("Retry-After"))
			}
			if n := f.db().XLen(t.Context(), "gw:"+ch).Val(); n != 1 || strings.Contains(got.body, `"n":1`) {
				t.Errorf("%s, %s: %d events, want 1; answered %s", tt.name, d.name, n, got.body)
			}
		}
		wantMoved(t, tt.g, tt.result)
		if i < 5 {
			must(t, harness.Until("the circuit opens", harness.Deadline, func() error {
				ask(t, http.MethodGet, of(base, tt.wanted[0]), token, "")
				got, err := metric(tt.g, `gateway_webhook_questions_total{result="circuit"}`)
				if err == nil && got == "0" {
					err = errors.New("it asks on")
				}
				return err
			}))
		}
		fresh := open(t, base, on(tt.public))
		count(t, f, tt.public, 1, 2)
		for _, s := range []*harness.Stream{tt.stays, fresh} {
			waitNumber(t, s, tt.public, 2)
			wantNumbers(t, s.Now().Of(tt.public), 1, 2)
		}
	}

	for i := range list {
		for _, ch := range list[i].wanted {
			app.answers(ch, allows(60))
		}
	}
	listenAt(t, app, nobody)
	for i := range list {
		tt := &list[i]
		must(t, harness.Until("the application is asked again", 2*harness.Deadline, func() error {
			if a := ask(t, http.MethodGet, of(tt.g.URL(), tt.wanted[0]), token, ""); a.status != 200 {
				return fmt.Errorf("%s: status %d: %s", tt.name, a.status, a.body)
			}
			return nil
		}))
		for k, d := range doors {
			if got := d.knock(t, tt.g.URL(), tt.wanted[k], token); got.status != 200 || d.action == "subscribe" && !strings.Contains(got.body, `"n":1`) {
				t.Errorf("%s, %s: status %d when it is back: %s", tt.name, d.name, got.status, got.body)
			}
		}
		stillOpen(t, tt.stays)
	}
}

// wantUnavailable checks that a stream says that it should come back, and
// nothing else, and ends.
func wantUnavailable(t *testing.T, base string, sub harness.Subscribe) {
	t.Helper()
	s := connect(t, base, sub)
	if s.Status != http.StatusOK {
		t.Fatalf("status %d, want a stream that ends: %s", s.Status, s.Problem)
	}
	v := waitEnd(t, s, harness.Deadline)
	if end := wantClose(t, v, true); end.Reason != "unavailable" || len(v.Events) != 1 {
		t.Errorf("want unavailable and nothing else: %s", v)
	}
}

// Of the channels that are joined by themselves the application's denials are
// left out; where it cannot tell, nobody gets a part of them for the whole.
func TestApplicationDecidesWhatIsJoined(t *testing.T) {
	t.Parallel()
	app := newApplication(t)
	f := own(t, app.setup(setup{replicas: 1, config: "autoSubscribe: ['hist:all', 'w:user:{sub}', 'w:common']\n" + webhookPolicies}))
	for _, tt := range []struct {
		name   string
		answer reply
		want   string // the channels; empty: unavailable
	}{
		{"allowed", allows(60), "hist:all w:common w:user:allowed"},
		{"denied", denies(60, "no"), "hist:all w:common"},
		{"forbidden", says(403, ""), "hist:all w:common"},
		{"unknown", says(404, ""), ""},
	} {
		app.answers("w:common", allows(60))
		app.answers("w:user:"+tt.name, tt.answer)
		token := harness.Token{Sub: tt.name}.Sign()
		if tt.want == "" {
			wantUnavailable(t, f.url(0), harness.Subscribe{Header: bearer(token)})
			wantProblem(t, ask(t, http.MethodGet, events(f.url(0), url.Values{"mode": {"poll"}}), token, ""), 503)
			continue
		}
		s := open(t, f.url(0), harness.Subscribe{Header: bearer(token)})
		if got := openedChannels(t, s); got != tt.want {
			t.Errorf("%s: joined to %q, want %q", tt.name, got, tt.want)
		}
		// Who names it has to be let in.
		status := 403
		if tt.name == "allowed" {
			status = 200
		}
		wantStatus(t, f.url(0), harness.Subscribe{Channels: []string{"w:user:" + tt.name}, Header: bearer(token)}, status)
		fcall(t, f, "w:user:"+tt.name, harness.Counted(1))
		fcall(t, f, "hist:all", harness.Counted(1))
		v := waitNumber(t, s, "hist:all", 1)
		if n := len(v.Of("w:user:" + tt.name)); tt.name == "allowed" {
			waitNumber(t, s, "w:user:"+tt.name, 1)
		} else if n != 0 {
			t.Errorf("%s: %d events of a channel that was denied", tt.name, n)
		}
	}
}

// Settings that cannot work stop the start, and check-config, with one line
// that names them and repeats no secret.
func TestWrongWebhookSettings(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	asks, alone := writeConfig(t, webhookPolicies), writeConfig(t, policies)
	for _, tt := range []struct {
		name, config string
		env          []string
		says         string
	}{
		{"no secret", asks, []string{"GATEWAY_WEBHOOK_URL=http://u:" + secret + "@127.0.0.1:1/may"}, "GATEWAY_WEBHOOK_SECRET"},
		{"short secret", asks, []string{"GATEWAY_WEBHOOK_URL=http://127.0.0.1:1/may", "GATEWAY_WEBHOOK_SECRET=" + secret}, "webhook-secret (environment GATEWAY_WEBHOOK_SECRET)"},
		{"secret that is not base64", alone, []string{"GATEWAY_WEBHOOK_URL=http://127.0.0.1:1/may", "GATEWAY_WEBHOOK_SECRET=whsec_" + secret + "!" + secret}, "webhook-secret (environment GATEWAY_WEBHOOK_SECRET)"},
		{"no URL", asks, []string{"GATEWAY_WEBHOOK_SECRET=" + webhookSecret}, "webhook-url"},
		{"another scheme", asks, []string{"GATEWAY_WEBHOOK_URL=ftp://u:" + secret + "@127.0.0.1/may", "GATEWAY_WEBHOOK_SECRET=" + webhookSecret}, "GATEWAY_WEBHOOK_URL"},
	} {
		for _, args := range [][]string{{"check-config"}, {"--addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0"}} {
			env := append([]string{"GATEWAY_JWT_SECRET=" + harness.Secret, "GATEWAY_REDIS_URL=redis://127.0.0.1:1/0"}, tt.env...)
			_, err := command(t, env, append(args, "--config", tt.config)...)
			exit, ok := err.(*exitError)
			if !ok || exit.code != 2 {
				t.Errorf("%s, %s: %v, want exit code 2", tt.name, args[0], err)
				continue
			}
			line := strings.TrimSpace(exit.said)
			if strings.Contains(line, "\n") || !strings.Contains(line, tt.says) || strings.Contains(line, secret) || strings.Contains(line, webhookSecret) {
				t.Errorf("%s, %s: want one line with %q and without secrets:\n%s", tt.name, args[0], tt.says, line)
			}
		}
	}
}

// Neither what signs the questions nor what is in them gets into the log or the
// metrics, whatever the application answers.
func TestApplicationsSecretsStaySecret(t *testing.T) {
	t.Parallel()
	app := newApplication(t)
	s := app.setup(setup{replicas: 1, config: "autoSubscribe: ['w:user:{sub}']\n" + webhookPolicies})
	s.flags = []string{
		"--log-level", "debug", "--drain-time", "100ms", "--webhook-url",
		strings.Replace(app.URL, "http://", "http://gateway:marker-password@", 1) + "/may?key=marker-query",
	}
	f := own(t, s)
	g := f.replicas[0]
	token := harness.Token{Sub: "alice", Expires: time.Now().Add(time.Hour), Claims: map[string]any{"email": "marker-claim"}}.Sign()
	repeats := func(status int) reply {
		return func(w http.ResponseWriter, r *http.Request, q question) {
			if user, password, ok := r.BasicAuth(); user != "gateway" || password != "marker-password" || !ok || r.URL.Query().Get("key") != "marker-query" {
				t.Errorf("asked at %s, by %q", r.URL, user)
			}
			says(status, q.body+r.Header.Get("webhook-signature"))(w, r, q)
		}
	}
	app.answers("w:user:alice", denies(60, "no"))
	for _, answer := range []reply{allows(60), denies(60, "no"), repeats(403), repeats(500), repeats(200), repeats(404), hangsUp} {
		ch := channel("w")
		count(t, f, ch, 1, 1)
		app.answers(ch, answer)
		for _, d := range doors {
			d.knock(t, f.url(0), ch, token)
		}
	}
	open(t, f.url(0), harness.Subscribe{Channels: []string{"hist:x"}, Header: bearer(token)})
	_, metrics, err := g.Ops("/metrics")
	must(t, err)
	_, err = g.Process().Terminate()
	must(t, err)
	for _, line := range []string{"webhook did not answer a question", "a channel is left out", "stream closed"} {
		if !strings.Contains(g.Log.String(), line) {
			t.Errorf("the log does not say %q, so this test shows nothing:\n%s", line, g.Log)
		}
	}
	parts := strings.Split(token, ".")
	for _, marker := range []string{"marker-", strings.TrimPrefix(webhookSecret, "whsec_"), "the application knows", parts[1], parts[2]} {
		for where, text := range map[string]string{"log": g.Log.String(), "metrics": metrics} {
			if strings.Contains(text, marker) {
				t.Errorf("%q is in the %s:\n%s", marker, where, text)
			}
		}
	}
}
