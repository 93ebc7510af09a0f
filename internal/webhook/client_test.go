package webhook

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func TestQuestionAsItIsSent(t *testing.T) {
	for _, tt := range []struct {
		name string
		q    Question
		want string
	}{
		{"with a token", Question{User: "alice", Channel: "project:42:tasks", Action: Subscribe, Claims: json.RawMessage(`{ "sub": "alice", "n": 9007199254740993 }`)},
			`{"user":"alice","channel":"project:42:tasks","action":"subscribe","claims":{"sub":"alice","n":9007199254740993}}`},
		{"without one", Question{Channel: "a", Action: Publish}, `{"user":null,"channel":"a","action":"publish","claims":null}`},
		{"with claims in broken UTF-8", Question{Channel: "a", Action: Publish, Claims: json.RawMessage("{\"x\":\"\xff\"}")},
			"{\"user\":null,\"channel\":\"a\",\"action\":\"publish\",\"claims\":{\"x\":\"\uFFFD\"}}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			with := &app{}
			a := serve(t, with, Options{})
			wantAllowed(t, a, tt.q)
			got := with.question()
			if string(got.raw) != tt.want {
				t.Errorf("body is  %s\nwant     %s", got.raw, tt.want)
			}
			if h := got.headers; h.Get("Content-Type") != "application/json" || !strings.HasPrefix(h.Get("webhook-id"), "msg_") {
				t.Errorf("headers are %v", h)
			}
			if err := verifier(t).Verify(got.raw, got.headers); err != nil {
				t.Errorf("the library's verifier refuses the signature: %v", err)
			}
			if verifier(t).Verify(append(got.raw, ' '), got.headers) == nil {
				t.Error("the signature does not depend on the body")
			}
		})
	}
}

func TestSecret(t *testing.T) {
	const text = "any plain text of some length"
	with := &app{}
	a := serve(t, with, Options{Secret: text})
	wantAllowed(t, a, alice("a"))
	raw, _ := standardwebhooks.NewWebhookRaw([]byte(text))
	if err := raw.Verify(with.question().raw, with.question().headers); err != nil {
		t.Errorf("plain text is not the key itself: %v", err)
	}
	for _, secret := range []string{"", "too short", "whsec_", "whsec_c2hvcnQ=", "whsec_no base64 at all, but long enough", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"} {
		_, err := New(Options{URL: testURL, Secret: secret})
		var wrong *SettingError
		if !errors.As(err, &wrong) || wrong.Setting != "Secret" {
			t.Errorf("New with secret %q = %v, want it refused", secret, err)
		} else if strings.TrimPrefix(secret, secretPrefix) != "" && strings.Contains(err.Error(), strings.TrimPrefix(secret, secretPrefix)) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}

func TestSettings(t *testing.T) {
	for name, o := range map[string]Options{
		"URL":         {URL: "ftp://app.example", Secret: testSecret},
		"Timeout":     {URL: testURL, Secret: testSecret, Timeout: -1},
		"DenyTTL":     {URL: testURL, Secret: testSecret, DenyTTL: 2 * time.Hour},
		"MaxInFlight": {URL: testURL, Secret: testSecret, MaxInFlight: -1},
	} {
		_, err := New(o)
		var wrong *SettingError
		if !errors.As(err, &wrong) || wrong.Setting != name || strings.Contains(err.Error(), "\n") {
			t.Errorf("New = %v, want %s refused", err, name)
		}
	}
	if _, err := New(Options{URL: "https://user:pa%ss@app", Secret: testSecret}); err == nil || strings.Contains(err.Error(), "pa%ss") {
		t.Errorf("New = %v, want the URL refused and not quoted", err)
	}
}

func TestAnswersOverHTTP(t *testing.T) {
	elsewhere := &app{}
	other := httptest.NewServer(elsewhere)
	defer other.Close()
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, `{"allow":true} `); err != nil {
				return
			}
		}
	}
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		want   Result
		sent   int64
	}{
		{"allow", says(`{"allow":true}`), ResultAllow, 1},
		{"deny", says(`{"allow":false,"reason":"not yours"}`), ResultDeny, 1},
		{"403", status(http.StatusForbidden), ResultDeny, 1},
		{"403 whose body says allow", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403); says(`{"allow":true}`)(w, r) }, ResultDeny, 1},
		{"401", status(http.StatusUnauthorized), ResultStatus, 1},
		{"404", status(http.StatusNotFound), ResultStatus, 1},
		{"201 with an allow", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(201); says(`{"allow":true}`)(w, r) }, ResultStatus, 1},
		{"204", status(http.StatusNoContent), ResultStatus, 1},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, ResultStatus, 1},
		{"429", status(http.StatusTooManyRequests), ResultStatus, maxAttempts},
		{"408", status(http.StatusRequestTimeout), ResultStatus, maxAttempts},
		{"500", status(http.StatusInternalServerError), ResultStatus, maxAttempts},
		{"hang up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ResultNetwork, maxAttempts},
		{"cut short", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"allow":true}`)
		}, ResultNetwork, maxAttempts},
		{"garbage", says(`{"allow":tr`), ResultAnswer, 1},
		{"text for a boolean", says(`{"allow":"true"}`), ResultAnswer, 1},
		{"page", says("<!doctype html><title>Sign in</title>"), ResultAnswer, 1},
		{"nothing", says(""), ResultAnswer, 1},
		{"endless body", endless, ResultAnswer, 1},
		{"too long", says(`{"allow":true,"reason":"` + strings.Repeat("a", maxAnswer) + `"}`), ResultAnswer, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			with, seen, lines := &app{answer: tt.answer}, &results{}, &logs{}
			a := serve(t, with, Options{Hooks: seen.hooks(), Logger: lines.logger()})
			switch tt.want {
			case ResultAllow:
				wantAllowed(t, a, alice("a"))
			case ResultDeny:
				wantDenied(t, a, alice("a"))
			default:
				wantUnavailable(t, a, alice("a"))
				if !strings.Contains(lines.String(), "result="+string(tt.want)) || strings.Contains(lines.String(), "editor") {
					t.Errorf("log is %q, want the failure without claims", lines)
				}
			}
			seen.want(t, tt.want, 1)
			if n := with.asked.Load(); n != tt.sent {
				t.Errorf("%d requests, want %d", n, tt.sent)
			}
		})
	}
	if n := elsewhere.asked.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

func TestHangingServerOverHTTP(t *testing.T) {
	for name, begin := range map[string]func(http.ResponseWriter){
		"before the answer": func(http.ResponseWriter) {},
		"in the middle": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"allow":true`)
			_ = http.NewResponseController(w).Flush()
		},
		"after an allow": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"allow":true}`)
			_ = http.NewResponseController(w).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			with, seen := &app{answer: func(w http.ResponseWriter, _ *http.Request) { begin(w); <-release }}, &results{}
			a := serve(t, with, Options{Timeout: 20 * time.Millisecond, Hooks: seen.hooks()})
			t.Cleanup(func() { close(release) }) // before the server's end
			wantUnavailable(t, a, alice("a"))
			seen.want(t, ResultTimeout, 1)
			if n := with.asked.Load(); n < 2 {
				t.Errorf("%d requests, want another attempt after the first hung", n)
			}
		})
	}
}

func TestCertificateOfNobody(t *testing.T) {
	with, seen := &app{}, &results{}
	server := httptest.NewUnstartedServer(with)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	a := newAuthorizer(t, Options{URL: server.URL, Hooks: seen.hooks()})
	wantUnavailable(t, a, alice("a"))
	seen.want(t, ResultNetwork, 1)
	if with.asked.Load() != 0 {
		t.Error("claims were sent to whoever answered")
	}
}

func TestNobodyThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL
	server.Close()
	seen, lines := &results{}, &logs{}
	a := newAuthorizer(t, Options{URL: strings.Replace(address, "://", "://user:pass@", 1) + "/may?code=hush", Hooks: seen.hooks(), Logger: lines.logger()})
	wantUnavailable(t, a, alice("a"))
	seen.want(t, ResultNetwork, 1)
	if text := lines.String(); !strings.Contains(text, address+"/may ") || strings.Contains(text, "hush") || strings.Contains(text, "pass") {
		t.Errorf("log is %q, want the URL without password and query", text)
	}
}

func TestFlappingServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids, seen := map[string]bool{}, &results{}
		with := &app{}
		with.answer = func(w http.ResponseWriter, r *http.Request) {
			ids[r.Header.Get("webhook-id")] = true
			if err := verifier(t).Verify(with.question().raw, r.Header); err != nil {
				t.Errorf("attempt %d: %v", with.asked.Load(), err)
			}
			if with.asked.Load() < 3 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			says(`{"allow":true}`)(w, r)
		}
		a := newAuthorizer(t, Options{Transport: with, Hooks: seen.hooks()})
		wantAllowed(t, a, alice("a"))
		if with.asked.Load() != 3 || len(ids) != 1 {
			t.Errorf("%d requests with %d ids, want 3 attempts of one question", with.asked.Load(), len(ids))
		}
		seen.want(t, ResultAllow, 1)
	})
}

func TestHangingServerTakesBoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with, seen := &app{answer: hangs}, &results{}
		a := newAuthorizer(t, Options{Transport: with, Hooks: seen.hooks()})
		start := time.Now()
		wantUnavailable(t, a, alice("a"))
		if took := time.Since(start); took > DefaultTimeout+patience {
			t.Errorf("took %v, want no more than %v", took, DefaultTimeout+patience)
		}
		synctest.Wait()
		if with.asked.Load() != 2 {
			t.Errorf("%d requests, want a second attempt", with.asked.Load())
		}
	})
}

func TestCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with, seen, lines := &app{answer: status(500)}, &results{}, &logs{}
		a := newAuthorizer(t, Options{Transport: with, Hooks: seen.hooks(), Logger: lines.logger()})
		for range 5 {
			wantUnavailable(t, a, alice("a"))
		}
		if n := with.asked.Load(); n != tripAfter {
			t.Fatalf("%d requests, want none after %d failures in a row", n, tripAfter)
		}
		time.Sleep(openFor + 1)
		wantUnavailable(t, a, alice("a"))
		if n := with.asked.Load(); n != tripAfter+1 {
			t.Fatalf("%d requests, want one probe after the pause", n)
		}
		with.set(nil)
		wantUnavailable(t, a, alice("a")) // open again

		time.Sleep(openFor + 1)
		wantAllowed(t, a, alice("a"))
		wantAllowed(t, a, alice("b"))
		for _, want := range []string{"not asked for a while", "answers again", "url=https://app.example/may "} {
			if !strings.Contains(lines.String(), want) {
				t.Errorf("log lacks %q: %s", want, lines)
			}
		}
	})
}

// A user who makes up channels that the application does not know must not
// shut out the others.
func TestRefusalsDoNotOpenTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := &app{answer: status(404)}
		a := newAuthorizer(t, Options{Transport: with})
		for range 3 * tripAfter {
			wantUnavailable(t, a, alice("made:up"))
		}
		with.set(nil)
		wantAllowed(t, a, alice("a"))
	})
}

func TestAbandonedQuestionsDoNotOpenTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with, seen := &app{answer: hangs}, &results{}
		a := newAuthorizer(t, Options{Transport: with, Hooks: seen.hooks()})
		for range 3 * tripAfter {
			gone(t, a, alice("a"))
		}
		seen.want(t, ResultAbandoned, 3*tripAfter)
		with.set(nil)
		wantAllowed(t, a, alice("a"))
	})
}
