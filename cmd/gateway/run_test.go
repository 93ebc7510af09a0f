package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"realtime-gateway/internal/auth"
)

// result of a command line.
type result struct {
	code        int
	out, errOut string
}

// execute runs a command line with nothing else in the environment than env.
func execute(t *testing.T, env []string, args ...string) result {
	t.Helper()
	var out, errOut strings.Builder
	code := run(t.Context(), args, env, &out, &errOut)
	return result{code, out.String(), errOut.String()}
}

// wantError checks code and the only line on standard error.
func (r result) wantError(t *testing.T, code int, want string) {
	t.Helper()
	if r.code != code || !strings.HasPrefix(r.errOut, "gateway: ") || !strings.Contains(r.errOut, want) || strings.Count(r.errOut, "\n") != 1 || r.out != "" {
		t.Errorf("exit %d, output %q, error %q; want exit %d and one line with %q", r.code, r.out, r.errOut, code, want)
	}
}

func (r result) must(t *testing.T) string {
	t.Helper()
	if r.code != exitOK {
		t.Fatalf("exit %d: %s", r.code, r.errOut)
	}
	return r.out
}

func TestWrongCommandLines(t *testing.T) {
	redis := []string{"GATEWAY_REDIS_URL=redis://h"}
	for _, test := range []struct {
		args string
		env  []string
		want string
	}{
		{"", nil, "gateway: config: there is no Redis: set --redis-url or GATEWAY_REDIS_URL, or try --dev\n"},
		{"publsh", nil, "gateway: unknown command publsh, did you mean publish?\n"},
		{"zebra", nil, "gateway: unknown command zebra, see gateway --help\n"},
		{"Hunter2", nil, "gateway: there is an argument beside the flags, and gateway takes none\n"},
		{"--adr :1", nil, "gateway: config: flag --adr is unknown, did you mean --addr?\n"},
		{"--dev --addr :1", nil, "with --dev, allowed is a loopback address"},
		{"--heartbeat 1", redis, `gateway: config: flag --heartbeat is "1": allowed is a duration from 1s to 10m`},
		{"check-config", nil, "there is no Redis"},
		{"check-config x", redis, "gateway check-config takes no arguments"},
		{"check-config --jwt-public-key-file=no.pem", redis, "config: jwt-public-key-file (flag --jwt-public-key-file): open no.pem"},
		{"publish a", redis, "gateway publish needs CHANNEL PAYLOAD"},
		{"publish a b c", redis, "is a quote missing?"},
		{"publish a b", nil, "there is no Redis to call: set --redis-url or GATEWAY_REDIS_URL"},
		{"publish a::b c", redis, `channel name "a::b": has an empty segment`},
		{"publish a \xff", redis, "the payload is not UTF-8"},
		{"publish a b --ttl x", redis, `flag --ttl is "x": allowed is a duration from 0s to 366d`},
		{"publish a b --evnt-id x", redis, "flag --evnt-id is unknown, did you mean --event-id?"},
		{"tail", nil, "gateway tail needs CHANNEL…"},
		{"tail a::b", nil, `channel name "a::b"`},
		{"tail a --url hunter2", nil, "--url or GATEWAY_URL is not a URL of a gateway"},
		{"token --sub a", nil, "there is no secret to sign with: set --jwt-secret or GATEWAY_JWT_SECRET"},
		{"token", []string{"GATEWAY_JWT_SECRET=x"}, "the token would say nothing"},
		{"token --subscribe a::b", []string{"GATEWAY_JWT_SECRET=x"}, "flag --subscribe: "},
		{"token --sub a", []string{"GATEWAY_JWT_SECRET=-----BEGIN hunter2"}, "config: jwt-secret (environment GATEWAY_JWT_SECRET): is a PEM block"},
		{"version x", nil, "gateway version takes no arguments"},
	} {
		t.Run(test.args, func(t *testing.T) {
			r := execute(t, test.env, strings.Fields(test.args)...)
			r.wantError(t, exitUsage, test.want)
			if strings.Contains(r.errOut, "unter2") {
				t.Errorf("a secret is shown: %s", r.errOut)
			}
		})
	}
}

// The standard variables of OpenTelemetry stop a start, so they stop a check.
func TestCheckConfigReadsTheVariablesOfTelemetry(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "hunter2")
	r := execute(t, []string{"GATEWAY_REDIS_URL=redis://h:1"}, "check-config")
	r.wantError(t, exitUsage, "the environment variable OTEL_EXPORTER_OTLP_HEADERS cannot be read")
	if strings.Contains(r.errOut, "hunter2") {
		t.Errorf("a secret is shown: %s", r.errOut)
	}
}

func TestCheckConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	yaml := "jwtSecret: hunter2\nchannels:\n- pattern: user:{sub}\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	r := execute(t, []string{"GATEWAY_REDIS_URL=rediss://me:hunter2@h:1/2"}, "check-config", "--config", file, "--linger=1m")
	listing := strings.Join(strings.Fields(r.must(t)), " ")
	for _, want := range []string{"linger 1m flag --linger", "redis-url rediss://me:[hidden]@h:1/2 environment GATEWAY_REDIS_URL", "jwt-secret [hidden] " + file + ":1", "user:{sub} (" + file + ":3)"} {
		if !strings.Contains(listing, want) {
			t.Errorf("listing lacks %q:\n%s", want, r.out)
		}
	}
	if want := "gateway: warning: jwtSecret in " + file + ":1 is shorter than 32 bytes, and may be guessed\n"; r.errOut != want {
		t.Errorf("warnings are %q, want %q", r.errOut, want)
	}
	if strings.Contains(r.out+r.errOut, "hunter2") {
		t.Errorf("a secret is shown:\n%s%s", r.out, r.errOut)
	}
	execute(t, nil, "check-config", "--dev").must(t)
}

func TestToken(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	out := execute(t, []string{"GATEWAY_JWT_SECRET=" + secret, "GATEWAY_JWT_ISSUER=me"}, "token", "--sub", "alice",
		"--subscribe", "project:*:tasks", "--subscribe", "user:{sub}", "--publish", "project:1:tasks", "--ttl", "1d").must(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	verifier, err := auth.New(ctx, auth.Options{Secret: secret, Issuer: "me"})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := verifier.Verify(ctx, strings.TrimSuffix(out, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if claims.Subject != "alice" || !claims.MaySubscribe("project:7:tasks") || !claims.MaySubscribe("user:alice") ||
		claims.MaySubscribe("user:bob") || !claims.MayPublish("project:1:tasks") || claims.MayPublish("project:7:tasks") || claims.ID == "" {
		t.Errorf("claims are %+v", claims)
	}
	if left := time.Until(claims.Expires); left < 23*time.Hour || left > 25*time.Hour {
		t.Errorf("expires in %v, want a day", left)
	}
}

func TestTokenClaims(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	env := []string{"GATEWAY_JWT_SECRET=" + secret}
	out := execute(t, env, "token", "--sub", "alice", "--claim", "team=red", "--claim", `quoted="blue"`, "--claim", `teams=["red","blue",7]`,
		"--claim", "org=12345678901234567890", "--claim", "admin=true", "--claim", `text={"a":1}`, "--claim", "empty=", "--claim", "a=b=c", "--claim", "none=null").must(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	verifier, err := auth.New(ctx, auth.Options{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := verifier.Verify(ctx, strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(claims.Raw, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"team": `"red"`, "quoted": `"blue"`, "teams": `["red","blue",7]`, "org": "12345678901234567890", "admin": "true", "text": `"{\"a\":1}"`,
		"empty": `""`, "a": `"b=c"`, "none": `"null"`,
	} {
		if string(got[name]) != want {
			t.Errorf("claim %s is %s, want %s", name, got[name], want)
		}
	}
	if age := time.Since(claims.Issued); age < 0 || age > time.Hour {
		t.Errorf("issued %v ago", age)
	}
	for _, name := range []string{"sub", "exp", "iat", "nbf", "iss", "aud", "jti", "gateway"} {
		execute(t, env, "token", "--sub", "alice", "--claim", name+"=1").wantError(t, exitUsage, "flag --claim: "+name+" cannot be among them: reserved are sub, exp")
	}
	for _, wrong := range []string{"team", "=red", ""} {
		execute(t, env, "token", "--sub", "alice", "--claim", wrong).wantError(t, exitUsage, "allowed is name=value")
	}
	execute(t, env, "token", "--sub", "alice", "--claim", "team=a", "--claim", "team=b").wantError(t, exitUsage, `flag --claim sets "team" twice`)
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"--help", "help publish", "publish -h", "tail -h", "token -h", "check-config -h", "healthcheck -h", "version -h"} {
		r := execute(t, nil, strings.Fields(args)...)
		if !strings.Contains(r.must(t), "Usage:") || r.errOut != "" {
			t.Errorf("%s: %q %q", args, r.out, r.errOut)
		}
	}
	// Defaults are part of the help, and values that were found are not.
	help := execute(t, []string{"GATEWAY_JWT_SECRET=hunter2"}, "--help").out
	if !strings.Contains(help, `(default ":8080")`) && !strings.Contains(help, "(default :8080)") || strings.Contains(help, "hunter2") {
		t.Errorf("help is\n%s", help)
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"a":                    "a",
		"a\nb\r\n\r\n  c\n":    "a; b; c",
		"a\x1b[2J\u009b b\x00": "a [2J  b",
	} {
		if got := oneLine(text); got != want {
			t.Errorf("oneLine(%q) is %q, want %q", text, got, want)
		}
	}
}
